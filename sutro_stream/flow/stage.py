"""The contract of a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.flow.meter import Meter
from sutro_stream.values.layout import Shape

ItemT_co = TypeVar("ItemT_co", covariant=True)

Columns = frozenset[str] | None
"""Names of input columns; `None` means all there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What a step gets from the run it belongs to.

    Attributes:
        meter: The run's counters.
    """

    meter: Meter


class Step(Protocol):
    """A stage bound to one run."""

    @property
    def shape(self) -> Shape:
        """What the step sends."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What decides over the step's output, beside its input.

        Short texts or digests, by names that a person understands. Answers are
        kept for a later run only as long as these are the same.
        """

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

    def bind(self, shape: Shape, context: RunContext) -> Step:
        """Check that the stage fits what arrives, and prepare one run of it.

        No I/O: a wrong configuration is found here, before anything is sent.

        Raises:
            ConfigurationError: The stage does not fit `shape`.
        """
