r"""Stages of your own: tidy reviews before they are sent, sort out answers after.

Both are async functions from one Arrow batch to the next, put into the pipeline with
`ss.map_batches`. Reviews without text and repeated ones are skipped, so nobody pays
for them; of the answered ones, only complaints go to the file, most urgent marked.

    python examples/custom_stage.py --output complaints.parquet
    python examples/custom_stage.py --output complaints.parquet \
        --engine http://127.0.0.1:8000/v1 --model my-model
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import sutro_stream as ss

EXAMPLES = Path(__file__).parent

# What `complaints` returns; a stage that keeps the columns it gets needs no schema.
COMPLAINTS = pa.schema(
    [("id", pa.string()), ("review", pa.string()), ("urgent", pa.bool_())]
)


class Tidy:
    """Trims reviews and lets each text pass once.

    A stage may keep state, and then it serves one run: make a new one for the next.
    This one remembers a hash for each review, the only thing here that grows with
    the input.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._seen: set[int] = set()

    async def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch without what is not worth a request."""
        # Arrow is quick enough to run right here, on the event loop. What takes
        # longer than some milliseconds belongs into `anyio.to_thread.run_sync`.
        column = batch.schema.names.index("review")
        texts = pc.replace_substring_regex(batch["review"], r"\s+", " ")
        texts = pc.utf8_trim_whitespace(texts)
        keep = [self._is_new(text) for text in texts.to_pylist()]
        self.skipped += keep.count(False)
        return batch.set_column(column, "review", texts).filter(pa.array(keep))

    def _is_new(self, text: str | None) -> bool:
        if not text or hash(text) in self._seen:
            return False
        self._seen.add(hash(text))
        return True


async def complaints(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The negative reviews of a batch; those with a single star are urgent.

    Besides the input columns a batch has `output`, `error`, and a column for each
    property of the answer's schema. A failed row has no sentiment and is left out;
    the report counts it.
    """
    batch = batch.filter(pc.equal(batch["sentiment"], "negative"))
    urgent = pc.equal(batch["stars"], "1")
    return pa.RecordBatch.from_arrays(
        [batch["id"], batch["review"], urgent], schema=COMPLAINTS
    )


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Find the complaints among product reviews.",
        epilog="A key for the endpoint is taken from SUTRO_STREAM_API_KEY.",
    )
    add = parser.add_argument
    add(
        "reviews",
        nargs="?",
        default=EXAMPLES / "reviews.csv",
        help="CSV file with the columns id, product, stars and review",
    )
    add("--output", type=Path, required=True, help="Parquet file to write")
    add("--engine", metavar="URL", help="an OpenAI-compatible endpoint, up to /v1")
    add("--model", metavar="NAME", help="model of that endpoint")
    return parser.parse_args()


def chosen_engine(options: argparse.Namespace) -> ss.ChatEngine | ss.LocalEngine:
    """The endpoint named on the command line, else the embedded model."""
    if options.engine is None:
        return ss.LocalEngine()
    key = os.environ.get("SUTRO_STREAM_API_KEY")
    return ss.ChatEngine(options.engine, options.model, api_key=key)


async def main(options: argparse.Namespace) -> int:
    """Write the complaints; 0 if at least one review was answered."""
    engine = chosen_engine(options)
    tidy = Tidy()
    pipeline = (
        ss.read_csv(options.reviews)
        | ss.map_batches(tidy)
        | ss.render(ss.Function.load(EXAMPLES / "sentiment.json"))
        | ss.infer(engine)
        | ss.map_batches(complaints, schema=COMPLAINTS)
        | ss.write_parquet(options.output)
    )
    async with engine:
        report = await pipeline.run()
    print(f"{tidy.skipped} reviews skipped: no text, or seen before")
    print(f"{report.rows_answered} answered, {report.rows_failed} failed")
    for kind, count in report.failures.items():
        print(f"  {count} {kind}")
    print(f"{report.rows} complaints in {report.path} ({report.elapsed_s:.1f} s)")
    return 0 if report.rows_answered else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(parse_options())))
    except ss.SutroStreamError as error:
        sys.exit(f"custom_stage: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
