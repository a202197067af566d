"""An event loop whose clock jumps instead of waiting."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

ResultT = TypeVar("ResultT")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Asyncio's loop on virtual time, which starts at 0.

    When every task waits for a timer, the clock jumps to the nearest one: hours
    pass in milliseconds, and always in the same order. For code without sockets
    and threads, whose events come from a clock that does not jump.
    """

    def __init__(self) -> None:
        self._virtual_now_s = 0.0
        super().__init__(_JumpingSelector(self._advance))

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._virtual_now_s

    def _advance(self, seconds: float) -> None:
        self._virtual_now_s += seconds


class _JumpingSelector(selectors.BaseSelector):
    """A selector that lets time pass instead of waiting."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._inner = selectors.DefaultSelector()
        self._advance = advance

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            # No timer at all: only something from outside can wake the loop.
            return self._inner.select(None)
        ready = self._inner.select(0)
        if not ready and timeout > 0:
            self._advance(timeout)
        return ready

    def close(self) -> None:
        self._inner.close()

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        mapping: Mapping[FileDescriptorLike, selectors.SelectorKey] = (
            self._inner.get_map()
        )
        return mapping


def run_virtual(
    function: Callable[[], Coroutine[Any, Any, ResultT]],
) -> ResultT:
    """Run an async function to its end on virtual time and return its result."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(function())
