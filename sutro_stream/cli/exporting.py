"""A ledger's answers written to a file."""

from __future__ import annotations

from pathlib import Path

from sutro_stream.cli.signals import Stopped, run_until_signal
from sutro_stream.errors import ConfigurationError, StoreError
from sutro_stream.ledger.export import Export, open_export
from sutro_stream.sinks.files import FileSink
from sutro_stream.sinks.sink import Sink


def export_to(ledger: Path, output: Path, *, overwrite: bool) -> Export:
    """Write what a ledger has to a file that is there whole, or not at all.

    Raises:
        ConfigurationError: The file is there, or its format is not known.
        StoreError: There is no ledger, or nothing in it.
        SinkError: The file cannot be written.
    """
    sink = FileSink(output)
    if output.exists() and not overwrite:
        raise ConfigurationError(
            f"{output} exists already; choose another name, or add --overwrite"
        )
    with open_export(ledger) as export:
        if not export.rows:
            told = "".join(f"; {text}" for text in export.damages)
            raise StoreError(f"nothing was answered in {ledger}{told}")

        async def write() -> None:
            await _write(export, sink)

        ending = run_until_signal(write)
        if isinstance(ending, Stopped):
            raise StoreError(f"{ending}; {output} was not written")
        return export


async def _write(export: Export, sink: Sink) -> None:
    async with sink.open(export.schema) as writer:
        for records in export.batches():
            await writer.write(records)
        await writer.finish()
