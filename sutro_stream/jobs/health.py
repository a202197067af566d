"""How a deployment does, in numbers, for those who run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from anyio import to_thread

from sutro_stream.flow.loop_lag import LagSummary, LoopLag
from sutro_stream.jobs.activity import Activity, ModelActivity
from sutro_stream.jobs.config import ServiceConfig
from sutro_stream.jobs.disk_space import check_room, disk_free_bytes
from sutro_stream.jobs.engines import EnginePool
from sutro_stream.jobs.model_slots import ModelSlots
from sutro_stream.jobs.store import JobStore
from sutro_stream.values.catalogue import Model
from sutro_stream.values.job import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHealth:
    """One model.

    Attributes:
        engine: `"idle"` until somebody asks for it, then `"opening"`, `"open"`, or
            `"dead"` until it is asked for again.
        slots: Requests that it takes at once, `None` while it was not asked.
        limit: How many of them are given now: fewer where this process cannot keep
            up with the answers. `None` as `slots`.
        used: Slots taken.
        waiting: Rows and Function runs that wait for a slot.
        activity: What it has done.
    """

    engine: str
    slots: int | None
    limit: int | None
    used: int
    waiting: int
    activity: ModelActivity


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A deployment at one moment.

    Attributes:
        jobs: Jobs that have not ended, by state.
        ended: Jobs that have ended since the deployment was opened, by state.
        models: By name.
        lag: Of the event loop, in the last minute.
        disk_free_bytes: Free for the data folder.
        disk_floor_bytes: With less than that no job is accepted.
    """

    jobs: Mapping[JobState, int]
    ended: Mapping[JobState, int]
    models: Mapping[str, ModelHealth]
    lag: LagSummary
    disk_free_bytes: int
    disk_floor_bytes: int

    @property
    def has_room(self) -> bool:
        """Whether there is space for new jobs."""
        return self.disk_free_bytes >= self.disk_floor_bytes


class Monitor:
    """Looks at the parts of a deployment.

    Concurrency: one event loop.
    """

    def __init__(
        self,
        config: ServiceConfig,
        *,
        store: JobStore,
        engines: EnginePool,
        slots: ModelSlots,
        activity: Activity,
        ended: Mapping[JobState, int],
    ) -> None:
        """Of one deployment.

        Args:
            config: Of the deployment.
            store: Its jobs.
            engines: Its engines.
            slots: Of its models.
            activity: What they have done.
            ended: Jobs that have ended, counted on.
        """
        self.lag = LoopLag(overworked=slots.ease)
        self._config = config
        self._store = store
        self._engines = engines
        self._slots = slots
        self._activity = activity
        self._ended = ended

    async def health(self) -> Health:
        """How the deployment does now.

        Raises:
            StoreError: The data folder cannot be read.
        """
        jobs, free_bytes = await to_thread.run_sync(self._kept)
        return Health(
            jobs=jobs,
            ended=dict(self._ended),
            models={
                name: self._model(model)
                for name, model in self._config.catalogue.models.items()
            },
            lag=self.lag.summary(),
            disk_free_bytes=free_bytes,
            disk_floor_bytes=self._config.disk_floor_bytes,
        )

    async def check_room(self, needed_bytes: int) -> None:
        """See `disk_space.check_room`."""
        config = self._config
        check = partial(check_room, config.data_dir, needed_bytes=needed_bytes)
        await to_thread.run_sync(partial(check, floor_bytes=config.disk_floor_bytes))

    def _kept(self) -> tuple[Mapping[JobState, int], int]:
        free_bytes = disk_free_bytes(self._config.data_dir)
        return self._store.count_unfinished(), free_bytes

    def _model(self, model: Model) -> ModelHealth:
        slots = self._slots.known(model.name)
        return ModelHealth(
            engine=self._engines.state(model),
            slots=None if slots is None else slots.capacity,
            limit=None if slots is None else slots.limit,
            used=0 if slots is None else slots.used,
            waiting=0 if slots is None else slots.waiting,
            activity=self._activity.of(model.name),
        )
