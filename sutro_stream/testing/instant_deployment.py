"""A deployment whose models answer at once: `python -m ...instant_deployment --help`.

As `sutro-stream serve`, but with an `InstantEngine` for every model: what it costs is
what the deployment itself costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sutro_stream.cli.serving import ServeOptions, execute
from sutro_stream.engines.engine import Engine
from sutro_stream.settings import Settings
from sutro_stream.testing.instant_engine import InstantEngine
from sutro_stream.values.catalogue import Model


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m sutro_stream.testing.instant_deployment",
        description="A deployment that answers every prompt at once, with the prompt.",
    )
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--config", type=Path, metavar="FILE.toml")
    parser.add_argument("--port", type=int, default=0, metavar="N")
    given = parser.parse_args()
    options = ServeOptions(
        data_dir=given.data_dir,
        config=given.config,
        host=None,
        port=given.port,
        log_requests=False,
        log_format="plain",
    )
    return execute(options, Settings.load(), engines_for=_instant)


def _instant(model: Model) -> Sequence[Engine]:
    if model.concurrency is None:
        return [InstantEngine()]
    return [InstantEngine(default_concurrency=model.concurrency)]


if __name__ == "__main__":
    raise SystemExit(main())
