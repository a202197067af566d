"""A server from its options to its exit code."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sutro_stream.cli.log_lines import LogFormat, log_to_stderr
from sutro_stream.cli.messages import complain, say
from sutro_stream.cli.signals import Stopped, run_until_signal
from sutro_stream.jobs.engines import EnginesFor, engines_for
from sutro_stream.server.serving import serve_forever
from sutro_stream.settings import Settings
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.values.catalogue import Catalogue

_LOG = logging.getLogger("sutro_stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """One call of the command; `None` stands for "not given"."""

    data_dir: Path
    config: Path | None
    host: str | None
    port: int | None
    log_requests: bool
    log_format: LogFormat


def execute(
    options: ServeOptions,
    settings: Settings,
    *,
    engines_for: EnginesFor = engines_for,
) -> int:
    """Serve until a signal.

    Args:
        options: Of the command.
        settings: Of the environment.
        engines_for: What serves a model.

    Returns:
        The exit code.

    Raises:
        SutroStreamError: The settings are wrong, or the service cannot go on.
    """
    deployment = DeploymentSettings.load(
        options.config, data_dir=options.data_dir, environment=settings.environment
    )
    server = deployment.server
    if options.host is not None:
        server = replace(server, host=options.host)
    if options.port is not None:
        server = replace(server, port=options.port)
    deployment = replace(deployment, server=server)
    log_to_stderr(options.log_format, requests=options.log_requests)
    _note_unused_proxies(deployment.service.catalogue, settings)
    serving = partial(
        serve_forever, deployment, on_ready=_greet, engines_for=engines_for
    )
    ending = run_until_signal(serving)
    if isinstance(ending, Stopped):
        complain(f"{ending}; what was accepted is kept", label=None)
    return 0


def _note_unused_proxies(catalogue: Catalogue, settings: Settings) -> None:
    """Log once for each variable of a proxy that an endpoint does not use."""
    found: dict[str, str] = {}
    for model in catalogue.models.values():
        for endpoint in model.endpoints:
            name = settings.unused_proxy(endpoint.url)
            if endpoint.proxy is None and name is not None:
                found.setdefault(name, model.name)
    for name, model_name in found.items():
        _LOG.warning(
            "%s is set, and not used for the endpoints of %s; to send requests through "
            "that proxy, give the endpoints its address as proxy",
            name,
            model_name,
        )


def _greet(url: str) -> None:
    # A full collection looks at everything that is there and holds up the event loop
    # meanwhile, for tens of milliseconds. What is there now stays.
    gc.collect()
    gc.freeze()
    say(f"Serving Sutro's batch API at {url} (Ctrl-C stops it)")
