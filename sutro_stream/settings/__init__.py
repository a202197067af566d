"""What comes from the environment and from files; nothing else looks there."""

from sutro_stream.settings.environment import (
    API_KEY_VARIABLE,
    DEPLOYMENT_KEY_VARIABLE,
    DEPLOYMENT_URL_VARIABLE,
    Settings,
)

__all__ = [
    "API_KEY_VARIABLE",
    "DEPLOYMENT_KEY_VARIABLE",
    "DEPLOYMENT_URL_VARIABLE",
    "Settings",
]
