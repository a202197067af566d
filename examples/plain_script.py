"""Classify product reviews, and print each answer as it comes.

The smallest useful program. It asks the embedded model, or an endpoint of yours:

    python examples/plain_script.py --limit 5
    python examples/plain_script.py --engine http://127.0.0.1:8000/v1 --model my-model
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import sutro_stream as ss

EXAMPLES = Path(__file__).parent


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Classify the reviews in examples/reviews.csv.",
        epilog="A key for the endpoint is taken from SUTRO_STREAM_API_KEY.",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N")
    parser.add_argument(
        "--engine", metavar="URL", help="an OpenAI-compatible endpoint, up to /v1"
    )
    parser.add_argument("--model", metavar="NAME", help="model of that endpoint")
    return parser.parse_args()


def chosen_engine(options: argparse.Namespace) -> ss.ChatEngine | ss.LocalEngine:
    """The endpoint named on the command line, else the embedded model."""
    if options.engine is None:
        return ss.LocalEngine()
    key = os.environ.get("SUTRO_STREAM_API_KEY")
    return ss.ChatEngine(options.engine, options.model, api_key=key)


def described(result: ss.Result) -> str:
    """One line about a row: its answer, or why there is none."""
    if result.error is None:
        return f"{result.row['id']}  {result.output['sentiment']}"
    line = f"{result.row['id']}  failed: {result.error}"
    # A refused or unanswered row has no text; an answer that did not pass keeps it.
    return line if result.text is None else f"{line}; it said {result.text!r}"


def totals(done: ss.Statistics) -> str:
    """One line about the run."""
    failures = ", ".join(f"{count} {kind}" for kind, count in done.failures.items())
    return (
        f"{done.rows_done} rows in {done.elapsed_s:.1f} s: "
        f"{done.rows_answered} answered, {done.rows_failed} failed"
        f"{f' ({failures})' if failures else ''}; "
        f"{done.input_tokens} tokens in, {done.output_tokens} out"
    )


async def main(options: argparse.Namespace) -> int:
    """Answer the reviews; 0 if at least one has its answer."""
    engine = chosen_engine(options)
    rows = ss.read_csv(EXAMPLES / "reviews.csv")
    if options.limit is not None:
        rows |= ss.limit(options.limit)
    function = ss.Function.load(EXAMPLES / "sentiment.json")
    pipeline = rows | ss.render(function) | ss.infer(engine)
    async with engine, pipeline.open() as results:
        async for result in results:
            print(described(result), flush=True)
        done = results.statistics()
    print(totals(done))
    return 0 if done.rows_answered else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(parse_options())))
    except ss.SutroStreamError as error:
        # What no row could get past: a wrong key, nobody at the address, no model.
        sys.exit(f"plain_script: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
