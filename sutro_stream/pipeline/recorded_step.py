"""Stages that cost money: what the run around them has to know."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.flow.outcome_store import Recording
from sutro_stream.flow.stage import Step
from sutro_stream.ledger.ledger import Ledger, OpenMode

UNRECORDED = Recording()


@runtime_checkable
class RecordedStep(Step, Protocol):
    """A bound stage that gets answers, and records what became of each row."""

    @property
    def is_ordered(self) -> bool:
        """Whether its results are wanted in input order."""

    @property
    def keeps_answers(self) -> bool:
        """Whether it keeps answers itself, and the ledger has failures alone.

        A file is written as results come then, since it cannot be made of the ledger.
        """

    @property
    def needs_memory(self) -> bool:
        """Whether it needs a recorder even if nothing is to be kept."""

    async def __call__(
        self,
        source: ObjectReceiveStream[Any],
        sink: ObjectSendStream[Any],
        recording: Recording = UNRECORDED,
    ) -> None:
        """See `Step`; what became of each row is recorded."""

    def beside(
        self, ledger: Ledger, path: Path, mode: OpenMode
    ) -> AbstractAsyncContextManager[None]:
        """What it keeps beside its ledger, for as long as the run is on.

        Args:
            ledger: Opened; `is_done_with` tells on leaving whether to leave nothing.
            path: The ledger's file.
            mode: What becomes of what is there.
        """

    @property
    def is_waiting(self) -> bool:
        """Whether answers are still to come for what was sent, to be got later."""
