"""`sutro-stream bench`: its options and help; light, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sutro_stream.cli.answering import REACH, AnsweringOptions
from sutro_stream.cli.declared import takes
from sutro_stream.settings import Settings


@click.command(
    no_args_is_help=True,
    options_metavar="OPTIONS",
    epilog="""\b
Examples:
  sutro-stream bench --endpoint http://127.0.0.1:8000/v1 --model my-model
  sutro-stream bench --endpoint local --max-in-flight 16 --seconds 5
  sutro-stream bench --endpoint https://api.example.com/v1 --model m \\
      --function sentiment.json --input reviews.csv --plot rates.svg

\b
Every request is a real one and costs what it costs; a level lasts ten seconds
or longer, and `auto` is measured for three times that.""",
)
@click.option(
    "--endpoint",
    required=True,
    metavar="URL|local",
    help="Address of an OpenAI-compatible endpoint, or 'local', the embedded engine.",
)
@takes(AnsweringOptions, only=REACH)
@click.option(
    "--input",
    "input_",
    metavar="FILE",
    help="Rows to ask about, CSV or Parquet; without it, made-up texts that differ.",
)
@click.option(
    "--column", multiple=True, metavar="NAME", help="Column that is the prompt."
)
@click.option(
    "--function",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Function that makes the prompts.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Longest answer, unless a Function says so.",
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Most requests at once.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Length of each level; slow answers make it longer.",
)
@click.option("--no-auto", is_flag=True, help="Do not measure what `auto` finds.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the curves as SVG.",
)
@click.option(
    "--json",
    "json_",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write every figure as JSON.",
)
@click.pass_obj
def bench(
    settings: Settings, /, endpoint: str, input_: str | None, **given: Any
) -> int:
    """Find out how much an endpoint answers, and at how many requests in flight.

    Doubles the requests in flight until more of them bring no more answers, shows
    rates, latencies and the knee of the curve, and what `--concurrency auto` makes
    of it.
    """
    # Engines and Arrow take most of a second to import.
    from sutro_stream.cli.benching import BenchOptions, execute  # noqa: PLC0415

    reach = {name: given.pop(name) for name in REACH}
    answering = AnsweringOptions(engine=(endpoint,), **reach)
    return execute(BenchOptions(answering=answering, input=input_, **given), settings)
