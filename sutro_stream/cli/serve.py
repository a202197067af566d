"""`sutro-stream serve`: its options and help; light, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sutro_stream.cli.data_dir import data_dir_option
from sutro_stream.settings import Settings

if TYPE_CHECKING:
    from sutro_stream.cli.log_lines import LogFormat


@click.command(
    epilog="""\b
Examples:
  sutro-stream keys create alice --data-dir data
  sutro-stream serve --data-dir data
  sutro-stream serve --data-dir data --config examples/deployment.toml

\b
Exit codes: 0 stopped with Ctrl-C or SIGTERM; 1 it could not go on; 2 the command
or the configuration is wrong.""",
)
@data_dir_option
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Models, limits and addresses.  [default: the embedded model]",
)
@click.option(
    "--host",
    metavar="ADDRESS",
    help="Address to listen on.  [default: as configured, else 127.0.0.1]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    metavar="N",
    help="Port to listen on; 0 picks a free one.  [default: as configured, else 8642]",
)
@click.option(
    "--log-requests",
    is_flag=True,
    help="One line on stderr per request, and per job that ends.",
)
@click.option(
    "--log-format",
    type=click.Choice(["plain", "json"]),
    default="plain",
    show_default=True,
    help="Lines for people, or JSON objects for programs.",
)
@click.pass_obj
def serve(
    settings: Settings,
    *,
    data_dir: Path,
    config: Path | None,
    host: str | None,
    port: int | None,
    log_requests: bool,
    log_format: LogFormat,
) -> int:
    """Serve Sutro's batch inference API.

    Everything that is accepted lies in the data folder, and is brought to its end
    after a restart. Prints its address once it is ready, then serves until Ctrl-C or
    SIGTERM; the second of these stops it at once.

    Clients need a key: see `sutro-stream keys --help`.
    """
    # What this needs takes a second to import, and --help does not need it.
    from sutro_stream.cli.serving import ServeOptions, execute  # noqa: PLC0415

    options = ServeOptions(
        data_dir=data_dir,
        config=config,
        host=host,
        port=port,
        log_requests=log_requests,
        log_format=log_format,
    )
    return execute(options, settings)
