"""What becomes of a batch before its rows are worked on: known, equal, or to ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sutro_stream.errors import WorkChangedError
from sutro_stream.flow.backlog import Task
from sutro_stream.flow.outcome_store import OutcomeStore, Recording
from sutro_stream.values.fingerprint import prompt_digest
from sutro_stream.values.outcomes import Outcome
from sutro_stream.values.prompts import PromptBatch

# What is older has to be read back from the recorder.
_RECENT_OUTCOMES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Payload of a row that needs no request.

    Attributes:
        outcome: What became of it.
        is_recorded: Whether the outcome store has it already.
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


async def payloads_of(
    batch: PromptBatch, recording: Recording, *, dedupe: bool
) -> list[Any]:
    """One payload for each row of a batch, with what is known of the row put in.

    A payload is the text of a prompt, a `Resolved` or, where `dedupe` has equal prompts
    asked once, a `DuplicateOf`.

    Raises:
        WorkChangedError: A row has another prompt than the one answered.
        StoreError: The outcome store failed.
    """
    store = recording.store
    if recording.spool is not None:
        await recording.spool(batch)
    payloads: list[Any] = batch.texts.to_pylist()
    for offset, error in batch.refused.items():
        payloads[offset] = Resolved(outcome=Outcome(error=error))
    if store is None:
        return payloads
    first = batch.first_index
    known = await store.known(first, len(payloads))
    for index, row in known.items():
        payload = payloads[index - first]
        if not isinstance(payload, Resolved):
            _require_same(index, payload, row.digest)
        payloads[index - first] = Resolved(outcome=row.outcome, is_recorded=True)
    await _reuse(first, payloads, store)
    if dedupe:
        await _mark_duplicates(first, payloads, store)
    return payloads


def _require_same(index: int, text: str, digest: int) -> None:
    if prompt_digest(text) != digest:
        raise WorkChangedError(
            f"the prompt of row {index} is not the one that the ledger has the "
            "answer of: the input changed; restore it, keep the answers of rows whose "
            "prompt is the same (--reuse), or start afresh (--restart)",
            differences=("prompts",),
        )


def _digests(payloads: list[Any]) -> list[int | None]:
    return [
        None if isinstance(payload, Resolved) else prompt_digest(payload)
        for payload in payloads
    ]


async def _reuse(first: int, payloads: list[Any], store: OutcomeStore) -> None:
    """Put in what an earlier input's rows of the same prompts were answered."""
    if not store.has_reusable:
        return
    wanted = {
        index: digest
        for index, digest in enumerate(_digests(payloads), first)
        if digest is not None
    }
    for index, outcome in (await store.reusable(wanted)).items():
        store.record(index, wanted[index], outcome)
        payloads[index - first] = Resolved(outcome=outcome, is_recorded=True)


async def _mark_duplicates(
    first: int, payloads: list[Any], store: OutcomeStore
) -> None:
    digests = _digests(payloads)
    leaders = await store.leaders(first, digests)
    for offset, leader in enumerate(leaders):
        own = digests[offset]
        if own is not None and leader != first + offset:
            payloads[offset] = DuplicateOf(leader=leader, digest=own)


class Followers:
    """Waiting rows by the row they wait for, and outcomes of late.

    Concurrency: one event loop; no method waits.
    """

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._waiting: dict[int, list[Task]] = {}
        self._recent: OrderedDict[int, Outcome] = OrderedDict()

    def opened(self, indices: Iterable[int]) -> None:
        """Note rows that came in and have no outcome yet."""
        self._open.update(indices)

    def wait(self, leader: int, task: Task) -> bool:
        """Let a row wait for its leader; `False` if that has its outcome already."""
        if leader not in self._open:
            return False
        self._waiting.setdefault(leader, []).append(task)
        return True

    def recent(self, leader: int) -> Outcome | None:
        """A leader's outcome, `None` when that was long ago."""
        return self._recent.get(leader)

    def concluded(self, index: int, outcome: Outcome) -> Sequence[Task]:
        """Note a row's outcome; the rows that waited for it."""
        self._open.discard(index)
        self._recent[index] = outcome
        if len(self._recent) > _RECENT_OUTCOMES:
            self._recent.popitem(last=False)
        return self._waiting.pop(index, ())
