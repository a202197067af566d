"""The last step of a run: what is looked at and noted before its file is in place."""

from __future__ import annotations

import pyarrow as pa

from sutro_stream.ledger.ledger import Ledger
from sutro_stream.sinks.sink import StagedWriter, Writer
from sutro_stream.sources.source import Reader


class PlacedWriter:
    """A `Writer` whose file is known to the ledger before it has its final name.

    So a run that is killed behind that moment is known to be complete by the next one.
    The input is looked at once more: a file made of one that was changed meanwhile
    does not get its name.
    """

    def __init__(self, writer: Writer, ledger: Ledger, reader: Reader) -> None:
        self._writer = writer
        self._ledger = ledger
        self._reader = reader

    async def write(self, records: pa.RecordBatch) -> None:
        await self._writer.write(records)

    async def finish(self) -> None:
        """See `Writer`.

        Raises:
            SourceError: The input is not the one that was opened.
            StoreError: The ledger could not be written.
        """
        await self._reader.identity()
        if isinstance(self._writer, StagedWriter):
            await self._ledger.note_output(await self._writer.stage())
        await self._writer.finish()
