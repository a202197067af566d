"""How many bytes of input are kept alive by rows not yet handed on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class _Held:
    """One batch: rows that still need it, and its size."""

    rows: int
    size_bytes: int


class BatchMemory:
    """Batches in use, by identity.

    Concurrency: one event loop; no method waits.
    """

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of all batches of which at least one row is not handed on."""
        return self._bytes

    def add(self, batch: object, *, rows: int, size_bytes: int) -> None:
        """Note a batch that came in; one without rows is not held."""
        if rows:
            self._held[id(batch)] = _Held(rows, size_bytes)
            self._bytes += size_bytes

    def release(self, batches: Iterable[object]) -> None:
        """Note rows that were handed on: for each, the batch it belongs to."""
        for identity, rows in Counter(map(id, batches)).items():
            held = self._held[identity]
            held.rows -= rows
            if not held.rows:
                del self._held[identity]
                self._bytes -= held.size_bytes
