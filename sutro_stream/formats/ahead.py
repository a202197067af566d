"""Blocking work that is done before its results are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from threading import Condition, Thread
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Ahead(Generic[ItemT]):
    """What a generator yields, made in a thread of its own.

    The thread begins with the first item that is asked for. It stops for as long as
    what nobody has taken is as much as it may be.

    Concurrency: one takes at a time, in any thread; closing waits for the item that
    is being made.
    """

    def __init__(
        self,
        items: Generator[ItemT, None, None],
        *,
        size: Callable[[ItemT], int],
        most: int,
    ) -> None:
        """Nothing is begun.

        Args:
            items: Is closed at the end, or by `close`.
            size: Of one item.
            most: Size of what is made and not taken at which the thread stops; what
                exceeds it is one item.
        """
        self._items = items
        self._size = size
        self._most = most
        self._made: deque[ItemT] = deque()
        self._made_size = 0
        self._changed = Condition()
        self._thread: Thread | None = None
        self._error: BaseException | None = None
        self._is_over = False
        self._is_closing = False

    def take_made(self) -> ItemT | None:
        """The next item if it is there already; never waits."""
        with self._changed:
            return self._pop() if self._made else None

    def take(self) -> ItemT | None:
        """The next item, waited for; `None` at the end and after it. Blocking.

        Raises:
            BaseException: What the generator raised, once, behind its last item.
        """
        self._begin()
        with self._changed:
            self._changed.wait_for(lambda: self._made or self._is_over)
            if self._made:
                return self._pop()
            error, self._error = self._error, None
        if error is not None:
            raise error
        return None

    def close(self) -> None:
        """End the thread and close the generator; what was made is dropped."""
        with self._changed:
            thread = self._thread
            self._is_closing = True
            self._is_over = self._is_over or thread is None
            self._changed.notify_all()
        if thread is None:
            self._items.close()
        else:
            thread.join()
        self._made.clear()

    def _begin(self) -> None:
        with self._changed:
            if self._thread is None and not self._is_over:
                # One that nobody closed must not keep the program from ending.
                self._thread = Thread(target=self._run, daemon=True)
                self._thread.start()

    def _pop(self) -> ItemT:
        item = self._made.popleft()
        self._made_size -= self._size(item)
        self._changed.notify_all()
        return item

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
            self._items.close()
        except BaseException as error:  # noqa: BLE001 - raised again where it is taken
            self._error = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _put(self, item: ItemT) -> bool:
        """Whether to make another one, once there is room for it."""
        with self._changed:
            self._made.append(item)
            self._made_size += self._size(item)
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._is_closing or self._made_size < self._most
            )
            return not self._is_closing
