"""How far running jobs are, and telling those who watch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import anyio

from sutro_stream.flow.meter import Statistics
from sutro_stream.values.job import JobProgress

_RATE_WINDOW_S = 5.0


class LiveProgress:
    """Counters of one job that runs in this process."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Nothing done yet.

        Args:
            changed: Called when there is something new.
        """
        self._changed = changed
        self._earlier = JobProgress()
        self._marks: deque[tuple[float, int]] = deque()
        self.now = JobProgress()

    def begin(self, earlier: JobProgress) -> None:
        """Start from what runs in other processes have used.

        Args:
            earlier: Their tokens; their rows are counted anew.
        """
        self._earlier = earlier
        self.now = replace(earlier, rows=0, tokens_per_s=0.0)

    def take(self, statistics: Statistics) -> None:
        """Note the counters of the run."""
        tokens = statistics.input_tokens + statistics.output_tokens
        marks, now_s = self._marks, statistics.elapsed_s
        marks.append((now_s, tokens))
        while len(marks) > 1 and now_s - marks[0][0] > _RATE_WINDOW_S:
            marks.popleft()
        since_s, before = marks[0]
        elapsed_s = now_s - since_s
        rate = (tokens - before) / elapsed_s if elapsed_s > 0 else 0.0
        before_this = self.now
        self.now = JobProgress(
            rows=max(self.now.rows, statistics.rows_done),
            input_tokens=self._earlier.input_tokens + statistics.input_tokens,
            output_tokens=self._earlier.output_tokens + statistics.output_tokens,
            tokens_per_s=rate,
        )
        if self.now != before_this:
            self._changed()


class Watch:
    """One watcher of one job.

    Concurrency: one task.
    """

    def __init__(self, topic: _Topic) -> None:
        """Made by `Bulletin.watch`."""
        self._topic = topic
        self._seen = topic.news

    async def next(self, timeout_s: float) -> bool:
        """Wait for news since the last call, or since the watch began.

        Returns:
            Whether there are any; `False` when `timeout_s` seconds have passed.
        """
        with anyio.move_on_after(timeout_s) as scope:
            while self._seen == self._topic.news:
                await self._topic.event.wait()
        self._seen = self._topic.news
        return not scope.cancelled_caught


class _Topic:
    def __init__(self) -> None:
        self.news = 0
        self.watchers = 0
        self.event = anyio.Event()


class Bulletin:
    """Tells watchers of a job that it has changed; nothing is kept for nobody.

    Concurrency: one event loop, any number of watchers of each job.
    """

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}

    def announce(self, job_id: str) -> None:
        """Wake whoever watches the job."""
        topic = self._topics.get(job_id)
        if topic is not None:
            topic.news += 1
            topic.event.set()
            topic.event = anyio.Event()

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        """Watch a job while the context is entered."""
        topic = self._topics.setdefault(job_id, _Topic())
        topic.watchers += 1
        try:
            yield Watch(topic)
        finally:
            topic.watchers -= 1
            if not topic.watchers:
                del self._topics[job_id]
