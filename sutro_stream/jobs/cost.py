"""What tokens cost, and what a job's tokens will be."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from sutro_stream.engines.tokenizer import Tokenizer
from sutro_stream.errors import EngineError
from sutro_stream.values.catalogue import Model, ModelKind
from sutro_stream.values.prices import Prices

SAMPLE_ROWS = 500
"""Most rows of a job that are counted for an estimate."""

_BYTES_PER_TOKEN = 4
_COUNTED_AT_ONCE = 8
_USUAL_OVERHEAD_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a job would cost.

    Attributes:
        rows: All its rows.
        input_tokens: Of all rows, system prompt and chat template included.
        output_tokens: Rows times what an answer of the model usually has.
        usd: Price of both.
        sampled_rows: Rows whose tokens were counted; below `rows` for a large job.
        is_counted: Whether the model's tokenizer counted them; else the tokens are
            a quarter of the bytes.
    """

    rows: int
    input_tokens: int
    output_tokens: int
    usd: float
    sampled_rows: int
    is_counted: bool

    @property
    def is_sampled(self) -> bool:
        """Whether a random sample stands for all rows."""
        return self.sampled_rows < self.rows

    @property
    def note(self) -> str:
        """How it was made, in one sentence."""
        how = "counted by the model's tokenizer"
        if not self.is_counted:
            how = "guessed from their length (the model's endpoint has no tokenizer)"
        if not self.is_sampled:
            return f"input tokens of all {self.rows:,} rows {how}"
        return (
            f"input tokens of a random sample of {self.sampled_rows:,} of "
            f"{self.rows:,} rows {how}"
        )


def price(
    model: Model, input_tokens: int, output_tokens: int, cached_tokens: int = 0
) -> float:
    """USD for so many tokens; an embedding model has no output to pay for."""
    is_embedding = model.kind is ModelKind.EMBEDDING
    prices = Prices(
        input=model.input_price,
        output=0.0 if is_embedding else model.output_price,
        cached_input=model.cached_input_price,
    )
    return prices.usd(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached_tokens,
    )


class PromptSample:
    """A random sample of a job's prompts, and the size of all of them.

    The same job gives the same sample. Memory is bounded by the sample.
    """

    def __init__(self, job_id: str, *, most_rows: int = SAMPLE_ROWS) -> None:
        """An empty sample.

        Args:
            job_id: Seed of the choice.
            most_rows: Size of the sample, at least 1.
        """
        self._rng = random.Random(job_id)
        self._most_rows = most_rows
        self.rows = 0
        self.size_bytes = 0
        self.texts: list[str] = []

    def add(self, prompts: Sequence[str | None]) -> None:
        """Take note of further prompts, in order; `None` for rows not to be sent."""
        for prompt in prompts:
            self.rows += 1
            text = prompt or ""
            self.size_bytes += len(text.encode())
            if len(self.texts) < self._most_rows:
                self.texts.append(text)
                continue
            place = self._rng.randrange(self.rows)
            if place < self._most_rows:
                self.texts[place] = text


async def estimate(
    model: Model,
    tokenizer: Tokenizer | None,
    sample: PromptSample,
    *,
    system_prompt: str | None = None,
    most_input_tokens: int | None = None,
) -> Estimate:
    """What the rows of a sample's job would cost.

    Args:
        model: Its prices count, and its usual answer.
        tokenizer: The model's, `None` for none: then by the length of the text.
        sample: All prompts went through it.
        system_prompt: As requests have it, `None` for none.
        most_input_tokens: Longest request where rows are cut to fit, `None` where
            they are not.

    An endpoint that does not count, or is gone, is no error.
    """
    counted = None if tokenizer is None else await _counted(tokenizer, sample.texts)
    overhead = await _overhead(model, tokenizer, system_prompt)
    tokens = counted or [_guessed(text) for text in sample.texts]
    if most_input_tokens is not None:
        room = max(0, most_input_tokens - overhead)
        tokens = [min(count, room) for count in tokens]
    input_tokens = sample.rows * overhead + _extrapolated(
        sum(tokens), sample, by_rows=most_input_tokens is not None
    )
    output_tokens = 0
    if model.kind is not ModelKind.EMBEDDING:
        output_tokens = sample.rows * model.mean_output_tokens
    return Estimate(
        rows=sample.rows,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        usd=price(model, input_tokens, output_tokens),
        sampled_rows=len(sample.texts),
        is_counted=counted is not None,
    )


async def _counted(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int] | None:
    """Tokens of each text, `None` where the endpoint does not count."""
    counts: list[int | None] = [None] * len(texts)
    places = iter(range(len(texts)))

    async def work(scope: anyio.CancelScope) -> None:
        for place in places:
            try:
                counts[place] = await tokenizer.count(texts[place])
            except EngineError:
                scope.cancel()

    async with anyio.create_task_group() as tasks:
        for _ in range(_COUNTED_AT_ONCE):
            tasks.start_soon(work, tasks.cancel_scope)
    known = [count for count in counts if count is not None]
    return known if len(known) == len(texts) else None


async def _overhead(
    model: Model, tokenizer: Tokenizer | None, system_prompt: str | None
) -> int:
    if tokenizer is not None:
        try:
            return await tokenizer.overhead(system_prompt)
        except EngineError:
            pass
    if model.kind is ModelKind.EMBEDDING:
        return 0
    return _USUAL_OVERHEAD_TOKENS + _guessed(system_prompt or "")


def _guessed(text: str) -> int:
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def _extrapolated(tokens: int, sample: PromptSample, *, by_rows: bool) -> int:
    """Tokens of all prompts from those of the sample.

    Tokens go with bytes, so that knowing all bytes makes a small sample exact; not so
    where long prompts are cut.
    """
    size_bytes = sum(len(text.encode()) for text in sample.texts)
    if by_rows or not size_bytes:
        return round(tokens * sample.rows / max(1, len(sample.texts)))
    return round(tokens * sample.size_bytes / size_bytes)
