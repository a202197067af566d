"""Which job is next: decisions only, nothing waits here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sutro_stream.values.job import Job


@dataclass(frozen=True, slots=True)
class _Entry:
    job_id: str
    account: str
    priority: int
    sequence: int


class JobQueue:
    """Jobs that wait for their turn, and those that have it.

    Small work goes first: priority 0 before 1, and one place is kept for priority 0
    where there are two or more, so that a prototype never waits for production to
    end. Among equals the account with the fewest running jobs is next, and then who
    came first.
    """

    def __init__(self, places: int) -> None:
        """Empty.

        Args:
            places: Most jobs that run at once, at least 1.
        """
        self._places = places
        self._sequence = 0
        self._waiting: dict[str, _Entry] = {}
        self._running: dict[str, _Entry] = {}

    @property
    def waiting(self) -> int:
        """Jobs whose turn has not come."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Jobs whose turn it is."""
        return len(self._running)

    def add(self, job: Job) -> None:
        """Put a job behind those like it."""
        entry = _Entry(job.job_id, job.spec.account, job.spec.priority, self._sequence)
        self._sequence += 1
        self._waiting[job.job_id] = entry

    def take(self) -> str | None:
        """The job whose turn it is, which runs from now on; `None` for none."""
        free = self._places - len(self._running)
        if free <= 0:
            return None
        kept = 1 if self._places > 1 else 0
        jobs_of = Counter(entry.account for entry in self._running.values())
        candidates = [
            entry
            for entry in self._waiting.values()
            if entry.priority == 0 or free > kept or self._has_prototype()
        ]
        if not candidates:
            return None
        following = min(
            candidates,
            key=lambda entry: (entry.priority, jobs_of[entry.account], entry.sequence),
        )
        self._running[following.job_id] = self._waiting.pop(following.job_id)
        return following.job_id

    def withdraw(self, job_id: str) -> bool:
        """Take a waiting job out; whether it was waiting."""
        return self._waiting.pop(job_id, None) is not None

    def ended(self, job_id: str) -> None:
        """Free the place of a job that ran."""
        del self._running[job_id]

    def _has_prototype(self) -> bool:
        # The place kept for them is in use by one.
        return any(entry.priority == 0 for entry in self._running.values())
