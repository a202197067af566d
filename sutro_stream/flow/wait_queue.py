"""Where workers wait that have nothing to do, woken as many as are needed."""

from __future__ import annotations

from collections import deque

import anyio


class WaitQueue:
    """A queue of waiting tasks.

    Waking more tasks than there are rows would cost a context switch for each;
    so one task is woken for one row, the longest waiting first.

    Concurrency: one event loop.
    """

    def __init__(self) -> None:
        self._waiting: deque[anyio.Event] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self) -> None:
        """Wait until woken.

        Cancellation: a wake-up that had already been given is passed on.
        """
        event = anyio.Event()
        self._waiting.append(event)
        try:
            await event.wait()
        except BaseException:
            # Cancelled: a wake-up that was given meanwhile must not be lost.
            if event.is_set():
                self.wake(1)
            else:
                self._waiting.remove(event)
            raise

    def wake(self, count: int) -> None:
        """Wake the `count` tasks that have waited longest, or all there are."""
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft().set()

    def wake_all(self) -> None:
        """Wake every waiting task."""
        self.wake(len(self._waiting))
