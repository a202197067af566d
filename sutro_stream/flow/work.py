"""What a pool of workers does with a row, and how it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sutro_stream.errors import EngineError
from sutro_stream.flow.backlog import Task
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.flow.window import WindowLimits
from sutro_stream.values.outcomes import Outcome, OutcomeBatch
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.quick import quick


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """A row and its final outcome."""

    batch: PromptBatch
    offset: int
    outcome: Outcome


class Work(Protocol):
    """What a pool does with a row; everything else about rows is the pool's."""

    @property
    def structured(self) -> bool:
        """Whether answers have an output schema."""

    def estimated_tokens(self, task: Task) -> tuple[int, int]:
        """About what a request for the row will cost: input and output tokens."""

    async def attempt(self, task: Task) -> Outcome:
        """Send one request.

        Raises:
            EngineError: It failed; the pool decides what follows.
        """

    def failed(self, task: Task, error: EngineError) -> Outcome:
        """The outcome of a row whose last attempt failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """How a pool runs.

    Attributes:
        workers: Most requests in flight; at least 1.
        timeout_s: Longest time of one attempt, in seconds; `None` for no limit.
        patience_s: Longest wait for an endpoint that answers nobody, in seconds, after
            which the run ends; `None` for no limit.
        window: How far work runs ahead of the consumer.
        retry: When a failed request is sent again.
        ordered: Whether outcomes leave in the order of the rows.
        dedupe: Whether equal prompts are asked once; needs an outcome store.
    """

    workers: int
    timeout_s: float | None
    patience_s: float | None
    window: WindowLimits
    retry: RetryPolicy
    ordered: bool = True
    dedupe: bool = False


def outcome_batches(
    concluded: Sequence[Concluded], *, structured: bool
) -> list[OutcomeBatch]:
    """Outcomes as batches, one for each run of rows of the same prompts."""
    batches = []
    start = 0
    for end in range(1, len(concluded) + 1):
        batch = concluded[start].batch
        if end < len(concluded) and concluded[end].batch is batch:
            continue
        rows = concluded[start:end]
        batches.append(
            OutcomeBatch(
                prompts=batch,
                offsets=_offsets([row.offset for row in rows]),
                outcomes=[row.outcome for row in rows],
                structured=structured,
            )
        )
        start = end
    return batches


def _offsets(offsets: list[int]) -> Sequence[int]:
    first, size = offsets[0], len(offsets)
    if offsets[-1] - first == size - 1 and offsets == list(range(first, first + size)):
        return range(first, first + size)
    return offsets
