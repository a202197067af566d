"""What a deployment has done since it was opened, counted by model."""

from __future__ import annotations

from dataclasses import dataclass, field

from sutro_stream.engines.request_counts import RequestCounts
from sutro_stream.flow.meter import Statistics


@dataclass(slots=True)
class ModelActivity:
    """What one model has done; numbers only grow.

    Concurrency: written from one event loop.

    Attributes:
        requests: Its requests, of jobs and Function runs.
        rows_answered: Rows of jobs that have their answer.
        rows_failed: Rows of jobs that have ended without one.
        retries: Requests beyond the first of their row.
    """

    requests: RequestCounts = field(default_factory=RequestCounts)
    rows_answered: int = 0
    rows_failed: int = 0
    retries: int = 0

    def job(self) -> JobActivity:
        """Counts for one run of a job."""
        return JobActivity(self)


@dataclass(slots=True)
class JobActivity:
    """One run of a job, from its counters to those of its model.

    What an earlier process had answered is no deed of this one and is not counted.
    """

    model: ModelActivity
    _kept: int = 0
    _answered: int = 0
    _failed: int = 0
    _retries: int = 0

    def take(self, statistics: Statistics) -> None:
        """Note the run's counters as they are now."""
        self._kept = statistics.rows_kept
        self.model.retries += statistics.retries - self._retries
        self._retries = statistics.retries
        self.rows(statistics.rows_answered, statistics.rows_failed)

    def rows(self, answered: int, failed: int) -> None:
        """Note how many rows have an outcome, those of earlier processes included."""
        answered = max(self._answered, answered - self._kept)
        failed = max(self._failed, failed)
        self.model.rows_answered += answered - self._answered
        self.model.rows_failed += failed - self._failed
        self._answered, self._failed = answered, failed


class Activity:
    """Counts of all models that were asked for anything.

    Concurrency: one event loop.
    """

    def __init__(self) -> None:
        self._models: dict[str, ModelActivity] = {}

    def of(self, model: str) -> ModelActivity:
        """The counts of a model, by its name in the catalogue."""
        return self._models.setdefault(model, ModelActivity())
