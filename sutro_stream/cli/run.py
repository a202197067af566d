"""`sutro-stream run`: its options and help; light, so that `--help` is quick."""

from __future__ import annotations

from typing import Any

import click

from sutro_stream.cli.declared import GroupedCommand, takes
from sutro_stream.cli.options import RunOptions
from sutro_stream.settings import Settings


@click.command(
    cls=GroupedCommand,
    record=RunOptions,
    no_args_is_help=True,
    options_metavar="OPTIONS",
    epilog="""\b
Examples:
  sutro-stream run reviews.csv --function sentiment.json --output out.parquet
  sutro-stream run 'data/*.parquet' --column text --limit 100 --dry-run
  sutro-stream run questions.csv --column question --output answers.jsonl \\
      --engine http://127.0.0.1:8000/v1 --model my-model --concurrency 256
  sutro-stream run leads.parquet --function lead-qualifier --output out.parquet \\
      --deployment https://batch.example.com

\b
Exit codes: 0 at least one row was answered; 1 none was, or the run could not
go on; 2 the command is wrong; 3 it stopped and can be gone on with: the
budget is spent, or the endpoint answers nobody; 130 interrupted with Ctrl-C.""",
)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@takes(RunOptions)
@click.pass_obj
def run(settings: Settings, /, **values: Any) -> int:
    """Ask a language model about each row of INPUT, and write its answers.

    INPUT is a CSV or Parquet file, several of them, a folder, a quoted glob
    pattern, or an http(s) address.

    Every row of the input becomes one row of the output, with the answer in the
    column `output`, and with the reason in the column `error` where it failed.

    A run that was interrupted, by whatever, goes on when the same command is given
    again: until the output is complete, OUTPUT.ledger keeps what was answered. It
    stays as well while rows are left that failed on the way to the endpoint and
    back: the same command asks these again.
    """
    options = RunOptions(**values)
    options.check()
    # What this needs takes a second to import, and --help does not need it.
    from sutro_stream.cli.execution import execute  # noqa: PLC0415

    return execute(options, settings)
