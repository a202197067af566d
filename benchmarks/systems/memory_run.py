"""Memory over one run, Parquet to Parquet with a ledger, through an engine in memory.

The engine answers at once, so that a few minutes suffice for millions of rows; what it
answers is kept nowhere. Resident memory is read from outside, by whoever started this.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio

import sutro_stream as ss
from sutro_stream.cli.process import suit_streaming
from systems.child import SCHEMA, Work, timed

_TEXT = '{"mood": "glad", "score": 4}'


class InstantEngine:
    """Answers every prompt alike, at once, and remembers nothing."""

    name = "an engine in memory"
    model = "instant"
    default_concurrency = 256

    async def __aenter__(self) -> Self:
        """See `Engine`."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """See `Engine`."""

    def bind(self, instructions: ss.Instructions) -> Self:
        """See `Engine`."""
        del instructions
        return self

    async def answer(self, prompt: str, *, seed: int | None = None) -> ss.Answer:
        """See `Responder`."""
        del prompt, seed
        return ss.Answer(
            text=_TEXT,
            finish_reason="stop",
            usage=ss.Usage(input_tokens=30, output_tokens=12),
            model=self.model,
        )


async def measured(work: Work) -> None:
    """Run the clock over the whole work."""
    with timed(work) as count:
        async with InstantEngine() as engine:
            report = await (
                ss.read_parquet(work.table)
                | ss.prompts("review", json_schema=SCHEMA)
                | ss.infer(engine, concurrency=work.concurrency)
                | ss.write_parquet(work.file("out.parquet"))
            ).run()
        count.answered = report.rows_answered


if __name__ == "__main__":
    # As the command does for its own process.
    suit_streaming()
    anyio.run(measured, Work.given(), backend_options={"use_uvloop": True})
