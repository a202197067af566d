"""Answer the example reviews with the embedded model: row by row, then file to file.

Needs the embedded engine; `make demo` installs it and runs this.
"""

import asyncio
import sys
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

import sutro_stream as ss

EXAMPLES = Path(__file__).parent
OUTPUT = EXAMPLES.parent / "demo-output" / "reviews-answered.parquet"

console = Console(markup=False, emoji=False, highlight=False)


def print_row(*cells: str, style: str = "") -> None:
    """Print one line of a table that grows as answers arrive."""
    line = Table.grid(padding=(0, 2), expand=True)
    line.add_column(width=4, no_wrap=True)
    line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    line.add_column(width=8, no_wrap=True)
    line.add_column(width=8, no_wrap=True)
    line.add_row(*cells, style=style)
    console.print(line)


def summary(right: int, rows: int, rows_per_s: float) -> str:
    """How well it went, in one line."""
    accuracy = f"{right} of {rows} labels right ({right / rows:.1%})"
    return f"{accuracy}, {rows_per_s:.1f} rows/s"


async def row_by_row(engine: ss.LocalEngine, function: ss.Function) -> int:
    """Show each review with its answer as it comes; return how many rows failed."""
    pipeline = (
        ss.read_csv(EXAMPLES / "reviews.csv") | ss.render(function) | ss.infer(engine)
    )
    print_row("id", "review", "answer", "label", style="bold")
    right = 0
    async with pipeline.open() as results:
        async for result in results:
            row = result.row
            review = " ".join(row["review"].split())
            answer = "failed" if result.error else result.output["sentiment"]
            correct = answer == row["label"]
            right += correct
            style = "" if correct else "yellow"
            print_row(row["id"], review, answer, row["label"], style=style)
        done = results.statistics()
    console.print(summary(right, done.rows_done, done.rows_done / done.elapsed_s))
    return done.rows_failed


async def file_to_file(engine: ss.LocalEngine, function: ss.Function) -> int:
    """Answer a Parquet file into another one; return how many rows failed."""
    pipeline = (
        ss.read_parquet(EXAMPLES / "reviews.parquet")
        | ss.render(function)
        | ss.infer(engine)
        | ss.write_parquet(OUTPUT)
    )
    with console.status("answering the same reviews from Parquet to Parquet"):
        report = await pipeline.run()
    answered = pq.read_table(report.path, columns=["sentiment", "label"]).to_pylist()
    right = sum(row["sentiment"] == row["label"] for row in answered)
    console.print(summary(right, report.rows, report.rows_per_s))
    return report.rows_failed


async def main() -> int:
    """Run both parts; the number of rows that failed."""
    function = ss.Function.load(EXAMPLES / "sentiment.json")
    console.rule("CSV, row by row", align="left")
    async with ss.LocalEngine() as engine:
        failed = await row_by_row(engine, function)
        console.print()
        console.rule("Parquet, file to file", align="left")
        failed += await file_to_file(engine, function)
    console.print(f"Answers are in {OUTPUT.relative_to(EXAMPLES.parent)}")
    console.print(
        "\nThe embedded model is a toy of 135 million parameters: good enough to show "
        "that everything works. For real work, point ss.ChatEngine at a real model.",
        style="dim",
    )
    return failed


if __name__ == "__main__":
    OUTPUT.parent.mkdir(exist_ok=True)
    try:
        sys.exit(1 if asyncio.run(main()) else 0)
    except ss.SutroStreamError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
