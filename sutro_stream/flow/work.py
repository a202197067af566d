"""What a pool of workers does, and how: the contract and the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sutro_stream.errors import EngineError
from sutro_stream.flow.backlog import Task
from sutro_stream.flow.payloads import Content
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.flow.window import WindowLimits
from sutro_stream.values.outcomes import Outcome
from sutro_stream.values.quick import quick

InT = TypeVar("InT")
OutT_co = TypeVar("OutT_co", covariant=True)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded(Generic[InT]):
    """A row and its final outcome."""

    batch: InT
    offset: int
    outcome: Outcome


class Work(Content[InT], Protocol[InT, OutT_co]):
    """What a pool does; everything else about rows is the pool's."""

    def size_bytes(self, batch: InT) -> int:
        """Memory that the batch holds."""

    def estimated_tokens(self, task: Task[InT]) -> int:
        """What a request for the row will cost, input and output, about."""

    async def attempt(self, task: Task[InT]) -> Outcome:
        """Send one request.

        Raises:
            EngineError: It failed; the pool decides what follows.
        """

    def failed(self, task: Task[InT], error: EngineError) -> Outcome:
        """The outcome of a row whose last attempt failed."""

    def collect(self, concluded: Sequence[Concluded[InT]]) -> Sequence[OutT_co]:
        """Batches to send on, in the given order of rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """How a pool runs.

    Attributes:
        workers: Most requests in flight; at least 1.
        timeout_s: Longest time of one attempt, in seconds; `None` for no limit.
        window: How far work runs ahead of the consumer.
        retry: When a failed request is sent again.
        ordered: Whether outcomes leave in the order of the rows.
        dedupe: Whether equal prompts are asked once; needs a recorder.
    """

    workers: int
    timeout_s: float | None
    window: WindowLimits
    retry: RetryPolicy
    ordered: bool = True
    dedupe: bool = False
