"""`sutro-stream run`: its options and help; light, so that `--help` is quick."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sutro_stream.cli.options import LOCAL_ENGINE, RunOptions
from sutro_stream.settings import (
    API_KEY_VARIABLE,
    DEPLOYMENT_KEY_VARIABLE,
    Settings,
)

_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "What to ask": (
        "function",
        "column",
        "separator",
        "system_prompt",
        "schema",
        "temperature",
        "max_tokens",
        "sampling",
        "seed_per_row",
        "dedupe",
    ),
    "Who answers": (
        "engine",
        "deployment",
        "model",
        "api_key_env",
        "api_key_command",
        "dialect",
        "transport",
        "concurrency",
        "timeout",
        "patience",
        "attempts",
        "hedge",
        "batch_rows",
        "priority",
    ),
    "Limits": (
        "requests_per_minute",
        "tokens_per_minute",
        "budget",
        "input_price",
        "output_price",
    ),
    "Input": ("format", "limit", "delimiter", "encoding", "empty"),
    "Output": ("output", "failures_to", "overwrite", "columns", "unordered", "quiet"),
    "Going on": ("restart", "retry_failed", "reuse", "keep_ledger"),
    "Trying out": ("dry_run", "show"),
}


_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class _Concurrency(click.ParamType[int | str]):
    """A number of at least 1, or `auto`."""

    name = "number or auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """The number, or the word."""
        if value == "auto":
            return value
        try:
            return click.IntRange(min=1).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither a number of at least 1 nor auto", param)


class _Duration(click.ParamType[float]):
    """Seconds, as `90`, `90s`, `10m`, `2h` or `1d`, or `forever`: infinite."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """The seconds."""
        if isinstance(value, float):
            return value
        if value == "forever":
            return math.inf
        unit = _UNITS_S.get(value[-1:], 1.0)
        number = value[:-1] if value[-1:] in _UNITS_S else value
        try:
            return click.FloatRange(min=0, max=1e9).convert(number, param, ctx) * unit
        except click.BadParameter:
            message = f"{value!r} is no duration such as 90s, 10m or 2h, nor forever"
            self.fail(message, param)


class _SectionedCommand(click.Command):
    """A command whose help shows its many options in groups."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write one titled list for each group."""
        records = {
            parameter.name: record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            and (record := parameter.get_help_record(ctx)) is not None
        }
        for title, names in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([records.pop(name) for name in names])
        with formatter.section("Help"):
            formatter.write_dl(list(records.values()))


@click.command(
    cls=_SectionedCommand,
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
@click.option(
    "--function",
    type=click.Path(path_type=Path),
    metavar="FILE|NAME",
    help="Function file (JSON): inputs, prompt template, output schema. With "
    "--deployment, also the name of one that is published there.",
)
@click.option(
    "--column",
    multiple=True,
    metavar="NAME",
    help="Use this column's text as the prompt; repeat to join several.",
)
@click.option(
    "--separator",
    metavar="TEXT",
    help=r"Between joined columns; \n and \t are understood.  [default: \n]",
)
@click.option(
    "--system-prompt",
    metavar="TEXT|@FILE",
    help="System message for all rows, or the file that holds it.",
)
@click.option(
    "--schema",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON Schema that the answers must have; its properties become columns.",
)
@click.option("--temperature", type=float, metavar="X", help="Sampling temperature.")
@click.option("--max-tokens", type=int, metavar="N", help="Most tokens of one answer.")
@click.option(
    "--sampling",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other sampling parameter, by vLLM's name, as in top_p=0.9.",
)
@click.option(
    "--seed-per-row",
    is_flag=True,
    help="Derive a seed for each row from --sampling seed=N and its position.",
)
@click.option(
    "--dedupe", is_flag=True, help="Ask once for equal prompts, and share the answer."
)
@click.option(
    "--engine",
    default=LOCAL_ENGINE,
    show_default=True,
    metavar="local|URL",
    help="The embedded model, or the address of an OpenAI-compatible endpoint.",
)
@click.option(
    "--deployment",
    metavar="URL",
    help="A Sutro deployment that answers instead, in jobs of many rows.",
)
@click.option(
    "--model",
    metavar="NAME|FILE",
    help="Model to ask for; with the local engine, a GGUF file.",
)
@click.option(
    "--api-key-env",
    metavar="VARIABLE",
    help="Environment variable that holds the endpoint's key.  "
    f"[default: {API_KEY_VARIABLE}; with --deployment, {DEPLOYMENT_KEY_VARIABLE}]",
)
@click.option(
    "--api-key-command",
    metavar="COMMAND",
    help="Command that prints the endpoint's key, run without a shell; run again when "
    "the endpoint refuses the key.",
)
@click.option(
    "--dialect",
    type=click.Choice(["openai", "vllm", "llama.cpp"]),
    help="Which sampling parameters the endpoint knows.  [default: vllm]",
)
@click.option(
    "--transport",
    type=click.Choice(["fast", "aiohttp"]),
    help="What speaks HTTP to the endpoint; fast needs a fourth of the processor's "
    "time.  [default: fast]",
)
@click.option(
    "--concurrency",
    type=_Concurrency(),
    metavar="N|auto",
    help="Requests in flight at once; auto finds the number at which the endpoint "
    "answers best. With --deployment, jobs.  [default: auto; with the local engine, "
    "what suits it; with --deployment, 4]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Longest time of one attempt at a row.  [default: 600]",
)
@click.option(
    "--patience",
    type=_Duration(),
    metavar="DURATION|forever",
    help="How long to wait for an endpoint that answers nobody, as in 90s, 10m or 2h; "
    "then the run stops, to be gone on with.  [default: 10m]",
)
@click.option(
    "--attempts",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most requests for one row, the first included.  [default: 5]",
)
@click.option(
    "--hedge",
    is_flag=True,
    help="Ask a second time for a row that is late; at most 3 % more requests.",
)
@click.option(
    "--batch-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most rows of a job, with --deployment.  [default: 1000]",
)
@click.option(
    "--priority",
    type=click.IntRange(0, 1),
    help="Of the jobs, with --deployment: 0 for prototypes.  [default: 1]",
)
@click.option(
    "--requests-per-minute",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Most requests a minute, spread evenly.",
)
@click.option(
    "--tokens-per-minute",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Most tokens a minute, read and written.",
)
@click.option(
    "--budget",
    multiple=True,
    metavar="KEY=NUMBER",
    help="Stop, to go on later, when so much is spent: calls=, tokens=, minutes= or "
    "usd=.",
)
@click.option(
    "--input-price", type=float, metavar="USD", help="Per million tokens, for usd=."
)
@click.option(
    "--output-price", type=float, metavar="USD", help="Per million tokens, for usd=."
)
@click.option(
    "--format",
    type=click.Choice(["csv", "parquet"]),
    help="Format of the input, where its name does not tell.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N rows."
)
@click.option(
    "--delimiter",
    metavar="CHARACTER",
    help=r"Between CSV cells.  [default: a comma; a tab in .tsv files]",
)
@click.option("--encoding", help="Text encoding of CSV files.  [default: utf-8]")
@click.option(
    "--empty",
    type=click.Choice(["null", "empty"]),
    help="What an empty CSV cell is: no value, or empty text.  [default: null]",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where results go: .parquet, .csv or .jsonl.",
)
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.option(
    "--columns",
    metavar="A,B,...",
    help='Input columns to keep beside the results; "" for none.  [default: all]',
)
@click.option(
    "--unordered", is_flag=True, help="Write results as they come, not in input order."
)
@click.option(
    "--failures-to",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Input rows without an answer, as input for another run.",
)
@click.option(
    "--restart",
    is_flag=True,
    help="Forget what an interrupted run has answered, and start afresh.",
)
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Keep the answers of an earlier run and ask again what failed; needs its "
    "ledger.",
)
@click.option(
    "--reuse",
    is_flag=True,
    help="The input changed: rows with a prompt that was answered keep their answer, "
    "the others are asked. Needs the ledger of an unfinished run, or a kept one.",
)
@click.option(
    "--keep-ledger",
    is_flag=True,
    help="Keep OUTPUT.ledger when the output is complete.",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress and no summary.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show the first prompts, count rows and tokens; send nothing.",
)
@click.option(
    "--show",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    metavar="N",
    help="Prompts that a dry run shows.",
)
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
