"""The contract of a sink."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow as pa


class Writer(Protocol):
    """An opened sink.

    Concurrency: one task writes.
    """

    async def write(self, records: pa.RecordBatch) -> None:
        """Append rows; blocking work happens in a worker thread.

        Raises:
            SinkError: They could not be written, a full disk for example.
        """

    async def finish(self) -> None:
        """Complete the file and put it in place under its final name, whole.

        Raises:
            SinkError: It could not be completed; the final name is untouched.
        """


@runtime_checkable
class StagedWriter(Writer, Protocol):
    """A writer that can say which file it is about to put in place."""

    async def stage(self) -> str:
        """Complete the file, still under another name; only `finish` may follow.

        Returns:
            What `file_identity` says of it, and will under its final name.

        Raises:
            SinkError: It could not be completed.
        """


class Sink(Protocol):
    """A description of an output file; opening it does the I/O.

    One with an attribute `details`, names of `values.details`, gets their columns.
    """

    @property
    def path(self) -> Path:
        """The final name."""

    @property
    def columns(self) -> Sequence[str] | None:
        """Input columns to keep, in this order; `None` keeps all."""

    def open(self, schema: pa.Schema) -> AbstractAsyncContextManager[Writer]:
        """Create a temporary file beside the final name and write to it.

        Leaving the context without `finish`, for whatever reason, removes it.

        Raises:
            SinkError: The place cannot be written to.
        """
