"""Rows whose prompt an earlier row has as well: who waits for whom."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from sutro_stream.flow.backlog import Task
from sutro_stream.values.outcomes import Outcome

# What is older has to be read back from the recorder.
_RECENT_OUTCOMES = 16_384


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
