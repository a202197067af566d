"""What a step needs of a ledger: rows remembered, and rows to remember."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sutro_stream.values.outcomes import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRow:
    """A row that was concluded in an earlier run.

    Attributes:
        digest: Of the prompt that was asked.
        outcome: What became of it.
    """

    digest: int
    outcome: Outcome


class OutcomeStore(Protocol):
    """Remembers outcomes by row.

    Concurrency: one event loop, any number of tasks.
    """

    @property
    def has_reusable(self) -> bool:
        """Whether it may have answers for rows that were never asked here."""

    async def known(self, first_index: int, count: int) -> Mapping[int, KnownRow]:
        """Rows concluded earlier, by index, of the `count` from `first_index` on.

        Those recorded since the last `flush` may be missing.
        """

    async def reusable(self, digests: Mapping[int, int]) -> Mapping[int, Outcome]:
        """Answers that may be given to rows, by row: those to the same prompts."""

    async def flush(self) -> None:
        """Let `known` know everything recorded so far."""

    async def leaders(
        self, first_index: int, digests: Sequence[int | None]
    ) -> Sequence[int]:
        """For each row the first one, by index, that has the same prompt.

        A row whose digest is `None` stands for itself.
        """

    def asked(self, index: int) -> None:
        """Remember that a request goes out for a row, should nothing more be heard."""

    def record(
        self, index: int, digest: int, outcome: Outcome, *, leader: int | None = None
    ) -> None:
        """Remember what became of a row; it survives `kill -9` on return.

        Args:
            index: 0-based index of the row.
            digest: Of its prompt.
            outcome: What became of it.
            leader: Index of the row whose outcome it shares, recorded before;
                `None` for a row of its own.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a step that gets answers is handed when it starts.

    Attributes:
        store: Remembers the step's outcomes, `None` when nothing does.
        spool: Keeps the rows of a batch for the output, before any is asked; `None`
            where nobody wants them kept.
        is_ordered_elsewhere: Whether the order of the step's results does not matter
            any more.
        is_resumed: Whether an earlier run has begun the same work.
    """

    store: OutcomeStore | None = None
    spool: Callable[[Any], Awaitable[None]] | None = None
    is_ordered_elsewhere: bool = False
    is_resumed: bool = False
