"""Sutro's API over HTTP: who may ask, who answers, how errors are told."""

from sutro_stream.server.app import create_app
from sutro_stream.settings.deployment import DeploymentSettings, ServerSettings

__all__ = ["DeploymentSettings", "ServerSettings", "create_app"]
