"""Work that ends in good order on Ctrl-C, SIGTERM and a closed terminal."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TypeVar

import anyio
from anyio.abc import TaskStatus

from sutro_stream.flow.groups import single_error

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Stopped:
    """The work was cancelled by a signal, and has closed what it had open."""

    number: signal.Signals

    @property
    def exit_code(self) -> int:
        """What shells expect after this signal."""
        return 128 + self.number

    def __str__(self) -> str:
        """What happened, for people."""
        if self.number is signal.SIGINT:
            return "interrupted"
        return f"stopped by {self.number.name}"


def run_until_signal(work: Callable[[], Awaitable[ResultT]]) -> ResultT | Stopped:
    """Run a coroutine function on an event loop of its own: uvloop's, where it runs.

    The first signal cancels the work; the next one ends the process at once,
    whatever it is doing.

    Raises:
        Exception: What the work raises.
    """
    use_uvloop = find_spec("uvloop") is not None
    return anyio.run(_watched, work, backend_options={"use_uvloop": use_uvloop})


async def _watched(work: Callable[[], Awaitable[ResultT]]) -> ResultT | Stopped:
    watch = _Watch()
    with single_error():
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch.run, tasks.cancel_scope)
            result = await work()
            tasks.cancel_scope.cancel()
            return result
    if watch.stopped is None:
        raise AssertionError
    return watch.stopped


@dataclass(slots=True)
class _Watch:
    stopped: Stopped | None = None

    async def run(
        self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]
    ) -> None:
        numbers = _listened_to()
        if not numbers:
            task_status.started()
            return
        with anyio.open_signal_receiver(*numbers) as signals:
            task_status.started()
            async for number in signals:
                self.stopped = Stopped(number)
                break
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        scope.cancel()


def _listened_to() -> tuple[signal.Signals, ...]:
    """The signals to act on; elsewhere Ctrl-C is Python's `KeyboardInterrupt`."""
    if sys.platform == "win32":
        return ()
    if threading.current_thread() is not threading.main_thread():
        return ()
    stopping = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # A process started by `nohup`, for example, stays deaf to what it was told to.
    return tuple(
        number for number in stopping if signal.getsignal(number) != signal.SIG_IGN
    )
