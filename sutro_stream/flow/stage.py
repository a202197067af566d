"""The contract of a stage, and the simple stage that maps batch to batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.flow.meter import Meter
from sutro_stream.values.layout import Batch, Shape

ItemT_co = TypeVar("ItemT_co", covariant=True)

Columns = frozenset[str] | None
"""Names of input columns; `None` means all there are."""


class Step(Protocol):
    """A stage bound to one run."""

    @property
    def shape(self) -> Shape:
        """What the step sends."""

    async def __call__(
        self, source: ObjectReceiveStream[Any], sink: ObjectSendStream[Any]
    ) -> None:
        """Turn everything from `source` into what goes to `sink`, then close both.

        Waits at `sink`, and so stops taking from `source`, when the consumer is
        slow. Cancellation: both ends are closed, nothing else is sent.
        """


class Stage(Protocol[ItemT_co]):
    """A description of work in a pipeline; holds no state of a run."""

    @property
    def yields(self) -> type[ItemT_co]:
        """What an iterator over the stage's output yields."""

    def columns_needed(self, wanted: Columns) -> Columns:
        """Input columns the stage needs so that `wanted` leave it."""

    def bind(self, shape: Shape, meter: Meter) -> Step:
        """Check that the stage fits what arrives, and prepare one run of it.

        No I/O: a wrong configuration is found here, before anything is sent.

        Raises:
            ConfigurationError: The stage does not fit `shape`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStep:
    """A step that makes one batch of each batch, in order.

    Attributes:
        shape: What it sends.
        convert: From a batch to the next; an empty result is not sent.
    """

    shape: Shape
    convert: Callable[[Any], Awaitable[Batch]]

    async def __call__(
        self, source: ObjectReceiveStream[Any], sink: ObjectSendStream[Any]
    ) -> None:
        """See `Step`."""
        async with source, sink:
            async for batch in source:
                converted = await self.convert(batch)
                if len(converted):
                    await sink.send(converted)
