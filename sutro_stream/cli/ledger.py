"""`sutro-stream ledger`: what a ledger holds, and whether an output agrees with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sutro_stream.cli.declared import takes
from sutro_stream.cli.pricing import PricingOptions

if TYPE_CHECKING:
    from sutro_stream.ledger.inspection import LedgerSummary
    from sutro_stream.values.prices import Priced

_AGREES, _DIFFERS = 0, 1
_MOST_TOLD = 20


@click.group()
def ledger() -> None:
    """Look into the ledger of an unfinished run, or of one that was kept."""


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path))
@takes(PricingOptions)
def show(file: Path, **prices: Any) -> int:
    """Rows, calls, retries, tokens and spend in the ledger FILE.

    Reads only; a run that is writing at the moment is not disturbed.
    """
    from sutro_stream.cli.messages import say  # noqa: PLC0415
    from sutro_stream.ledger.inspection import inspect  # noqa: PLC0415

    priced = PricingOptions(**prices).priced
    summary = inspect(file)
    say(
        "\n".join(
            _lines(summary, None if priced is None else _cost(file, summary, priced))
        )
    )
    _tell_damages(summary.damages)
    return _AGREES


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
def verify(file: Path, output: Path) -> int:
    """Hold the finished OUTPUT against the ledger FILE, row by row.

    Exit code 1 when they differ; each difference is a line.
    """
    from sutro_stream.cli.messages import say  # noqa: PLC0415
    from sutro_stream.ledger.inspection import verify as compare  # noqa: PLC0415

    problems = compare(file, output)
    say("\n".join(problems) or f"{output} agrees with {file}")
    return _DIFFERS if problems else _AGREES


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="OUT",
    required=True,
    help="Where they go: .parquet, .csv or .jsonl.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def export(file: Path, output: Path, *, overwrite: bool) -> int:
    """Write what the ledger FILE has to OUT: input columns, answers, errors.

    From any ledger: of an unfinished run or a finished one, beside a run that is
    writing, and from one that is damaged. What could not be read is told on stderr;
    the rest is written, and the exit code is 0. Rows without an outcome are left out.
    """
    from sutro_stream.cli.exporting import export_to  # noqa: PLC0415
    from sutro_stream.cli.messages import say  # noqa: PLC0415

    found = export_to(file, output, overwrite=overwrite)
    _tell_damages(found.damages)
    say(f"{found.rows:,} rows, {found.answered:,} of them answered, are in {output}")
    return _AGREES


def _tell_damages(damages: Sequence[str]) -> None:
    from sutro_stream.cli.messages import complain  # noqa: PLC0415

    for text in damages[:_MOST_TOLD]:
        complain(f"damaged: {text}", label="warning")
    if len(damages) > _MOST_TOLD:
        complain(f"{len(damages) - _MOST_TOLD:,} more damaged places", label="warning")


def _cost(file: Path, summary: LedgerSummary, priced: Priced) -> str:
    """What all calls of a ledger cost."""
    from sutro_stream.ledger.export import open_export  # noqa: PLC0415
    from sutro_stream.values.prices import prices_of  # noqa: PLC0415

    seen, asked = summary.statistics, summary.parts.get("model")
    with open_export(file) as export:
        usages = export.usages()
    prices = prices_of(priced, asked, None)
    if prices is not None:
        usd = prices.usd(
            input_tokens=seen.input_tokens,
            output_tokens=seen.output_tokens,
            cached_tokens=sum(usage.cached_tokens for usage in usages.values()),
        )
        return f"{usd:>12,.4f} USD"
    found = [
        (prices_of(priced, asked, model), usage) for model, usage in usages.items()
    ]
    usd = sum(prices.usd_of(usage) for prices, usage in found if prices is not None)
    told = sum(
        usage.input_tokens + usage.output_tokens
        for prices, usage in found
        if prices is not None
    )
    left = seen.input_tokens + seen.output_tokens - told
    note = f", without {left:,} tokens whose price is not known" if left else ""
    return f"{usd:>12,.4f} USD{note}"


def _lines(summary: LedgerSummary, cost: str | None) -> Iterator[str]:
    seen = summary.statistics
    state = "complete" if summary.is_finished else "unfinished"
    yield f"state            {'a run is writing' if summary.is_writing else state}"
    yield f"rows             {seen.rows:>12,}"
    yield f"answered         {seen.answered:>12,}"
    yield f"failed           {sum(seen.failed.values()):>12,}"
    for kind, count in sorted(seen.failed.items(), key=lambda item: -item[1]):
        yield f"  {kind:<15}{count:>12,}"
    if seen.shared:
        yield f"calls saved      {seen.shared:>12,}"
    if seen.damaged:
        yield f"damaged places   {seen.damaged:>12,}"
    yield f"calls            {seen.calls:>12,}"
    yield f"retries          {seen.retries:>12,}"
    yield f"paid again       {seen.calls_repeated:>12,}"
    yield f"input tokens     {seen.input_tokens:>12,}"
    yield f"output tokens    {seen.output_tokens:>12,}"
    if cost is not None:
        yield f"spend            {cost}"
    for run in summary.runs:
        ended = "left in good order" if run.closed_at else "not closed"
        opened = run.opened_at.isoformat(timespec="seconds")
        yield f"run              {opened}  {run.mode}, {run.kept:,} kept, {ended}"
    for name, value in summary.parts.items():
        yield f"bound to         {name}: {value}"
