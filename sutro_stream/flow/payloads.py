"""What becomes of a batch before its rows are worked on: known, equal, or to ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sutro_stream.errors import WorkChangedError
from sutro_stream.flow.outcome_store import OutcomeStore
from sutro_stream.values.outcomes import Outcome

InT = TypeVar("InT")
InT_contra = TypeVar("InT_contra", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Payload of a row that needs no request.

    Attributes:
        outcome: What became of it.
        is_recorded: Whether the recorder has it already.
    """

    outcome: Outcome
    is_recorded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateOf:
    """Payload of a row whose prompt an earlier one has as well.

    Attributes:
        leader: Index of the first row with that prompt.
        digest: Of the prompt.
    """

    leader: int
    digest: int


class Content(Protocol[InT_contra]):
    """What intake needs to know of a batch."""

    def first_index(self, batch: InT_contra) -> int:
        """0-based index of its first row."""

    def payloads(self, batch: InT_contra) -> list[Any]:
        """What an attempt needs for each row, `Resolved` for rows that need none."""

    def digest(self, payload: object) -> int:
        """A number that equal payloads share, and others practically never."""


class Payloads(Generic[InT]):
    """Turns batches into payloads, with what is known of their rows put in.

    Concurrency: one task.
    """

    def __init__(
        self,
        content: Content[InT],
        *,
        recorder: OutcomeStore | None,
        spool: Callable[[InT], Awaitable[None]] | None,
        dedupe: bool,
    ) -> None:
        """An intake.

        Args:
            content: Knows the batches.
            recorder: Remembers rows, `None` when nothing does.
            spool: Keeps the batch's rows for the output, `None` for nobody.
            dedupe: Whether equal prompts are asked once; needs a recorder.
        """
        self._content = content
        self._recorder = recorder
        self._spool = spool
        self._dedupe = dedupe

    async def payloads(self, batch: InT) -> list[Any]:
        """One payload for each row of the batch.

        Raises:
            WorkChangedError: A row has another prompt than the one answered.
            StoreError: The recorder failed.
        """
        if self._spool is not None:
            await self._spool(batch)
        payloads = self._content.payloads(batch)
        recorder = self._recorder
        if recorder is None:
            return payloads
        first = self._content.first_index(batch)
        known = await recorder.known(first, len(payloads))
        for index, row in known.items():
            payload = payloads[index - first]
            if not isinstance(payload, Resolved):
                self._require_same(index, payload, row.digest)
            payloads[index - first] = Resolved(outcome=row.outcome, is_recorded=True)
        if self._dedupe:
            await self._mark_followers(first, payloads, recorder)
        return payloads

    def _require_same(self, index: int, payload: object, digest: int) -> None:
        if self._content.digest(payload) != digest:
            raise WorkChangedError(
                f"the prompt of row {index} is not the one that the ledger has the "
                "answer of: the input changed; restore it, or start afresh "
                "(--restart)",
                differences=("prompts",),
            )

    async def _mark_followers(
        self, first: int, payloads: list[Any], recorder: OutcomeStore
    ) -> None:
        digest = self._content.digest
        digests = [
            None if isinstance(payload, Resolved) else digest(payload)
            for payload in payloads
        ]
        leaders = await recorder.leaders(first, digests)
        for offset, leader in enumerate(leaders):
            own = digests[offset]
            if own is not None and leader != first + offset:
                payloads[offset] = DuplicateOf(leader=leader, digest=own)
