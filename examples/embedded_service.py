r"""A web service of one's own that offers Sutro's batch API beside its own routes.

The deployment opens and closes with the application; it lies below `/batch`.

    python examples/embedded_service.py --data-dir data

    sutro-stream keys create alice --data-dir data
    curl http://127.0.0.1:8080/batch/v1/auth/check --header "Authorization: Key sk_..."

Only one process may serve a data folder at a time: run one worker.
"""

import argparse
import sys
from pathlib import Path

from aiohttp import web

import sutro_stream as ss
from sutro_stream.server import DeploymentSettings, create_app

# What is not answered by then is cut off, so that Ctrl-C does not take minutes.
SHUTDOWN_GRACE_S = 5.0


def service(settings: DeploymentSettings) -> web.Application:
    """The service: routes of our own, and those of the deployment."""
    app = web.Application()
    app.router.add_get("/", welcome)
    app.add_subapp("/batch/", create_app(settings))
    return app


async def welcome(_: web.Request) -> web.Response:
    """Say what there is."""
    return web.json_response({"batch": "/batch/v1"})


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A service with a batch API in it.")
    add = parser.add_argument
    add("--data-dir", type=Path, required=True, help="folder of all that is kept")
    add("--config", type=Path, help="configuration of the deployment (TOML)")
    add("--port", type=int, default=8080, help="port on 127.0.0.1; 0 picks a free one")
    options = parser.parse_args()
    settings = DeploymentSettings.load(options.config, data_dir=options.data_dir)
    web.run_app(
        service(settings),
        host="127.0.0.1",
        port=options.port,
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_GRACE_S,
    )


if __name__ == "__main__":
    try:
        main()
    except ss.SutroStreamError as error:
        sys.exit(f"embedded_service: {error}")
