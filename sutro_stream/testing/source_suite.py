"""What every source must do, as a test class to inherit."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pyarrow as pa
import pytest

from sutro_stream.sources.source import Reader, Source
from sutro_stream.testing.sink_suite import NASTY_TEXTS

TextRow: TypeAlias = dict[str, str | None]

_OPEN_FILES = Path("/proc/self/fd")
_LONG_CELL = 'very "long",\n' * 100_000
# Of a chunk; and more than that.
_MOST_ROWS = 16_384
_MANY_ROWS = 17_000


async def read_chunks(reader: Reader) -> list[pa.RecordBatch]:
    """Everything that is left to read; that no row is refused is checked."""
    chunks = []
    while (batch := await reader.read()) is not None:
        assert not batch.refused
        chunks.append(batch.records)
    return chunks


async def read_rows(
    source: Source, columns: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """All rows of a source as Python values.

    Args:
        source: Opened, read to its end and closed.
        columns: Columns to ask for, `None` for all.
    """
    asked = None if columns is None else frozenset(columns)
    async with source.open(asked) as reader:
        return [row for chunk in await read_chunks(reader) for row in chunk.to_pylist()]


async def read_refused(source: Source) -> list[tuple[int, str]]:
    """Index and reason of each refused row, and of each bad cell."""
    found: list[tuple[int, str]] = []
    async with source.open(None) as reader:
        while (batch := await reader.read()) is not None:
            found += [
                (batch.first_index + offset, error.message)
                for offset, error in batch.refused
            ]
    return found


def open_files() -> set[str]:
    """Files this process has open.

    Skips the test where the system does not tell.
    """
    if not _OPEN_FILES.is_dir():
        pytest.skip("this system does not list a process's open files")
    found = set()
    for entry in _OPEN_FILES.iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # the listing itself
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
            found.add(target)
    return found


class SourceSuite:
    """Tests of the contract in `sources.source`; a subclass makes sources.

    Tests are coroutines: run them with pytest-asyncio in automatic mode, or mark
    the subclass for the runner of your choice.
    """

    def make_source(self, rows: list[TextRow], tmp_path: Path) -> Source:
        """A source of exactly these rows, to be opened any number of times.

        Args:
            rows: At least one; all have the same keys, which are the columns in
                order; `None` is a missing value.
            tmp_path: An empty folder to put files into.
        """
        raise NotImplementedError

    async def test_the_schema_is_known_before_the_first_chunk(
        self, tmp_path: Path
    ) -> None:
        """Stages are bound to the columns before anything is read."""
        source = self.make_source(_rows(3), tmp_path)
        async with source.open(None) as reader:
            assert reader.schema.names == ["id", "text"]
            assert reader.schema.types == [pa.string(), pa.string()]

    async def test_every_row_comes_once_and_in_order(self, tmp_path: Path) -> None:
        """Also when there are more rows than one chunk holds."""
        rows = _rows(_MANY_ROWS)
        assert await read_rows(self.make_source(rows, tmp_path)) == rows

    async def test_a_single_row_is_read(self, tmp_path: Path) -> None:
        """The smallest input is one like others."""
        assert await read_rows(self.make_source(_rows(1), tmp_path)) == _rows(1)

    async def test_chunks_have_rows_and_share_the_schema(self, tmp_path: Path) -> None:
        """No chunk is empty, and none is as large as the input."""
        source = self.make_source(_rows(_MANY_ROWS), tmp_path)
        async with source.open(None) as reader:
            schema = reader.schema
            chunks = await read_chunks(reader)
        assert all(chunk.num_rows for chunk in chunks)
        assert all(chunk.schema.equals(schema) for chunk in chunks)
        assert max(chunk.num_rows for chunk in chunks) <= _MOST_ROWS

    async def test_the_end_stays_the_end(self, tmp_path: Path) -> None:
        """Reading on after the end says so again."""
        source = self.make_source(_rows(3), tmp_path)
        async with source.open(None) as reader:
            await read_chunks(reader)
            assert await reader.read() is None
            assert await reader.read() is None

    async def test_the_row_count_is_right_or_not_given(self, tmp_path: Path) -> None:
        """A reader that cannot know does not guess."""
        source = self.make_source(_rows(1_234), tmp_path)
        async with source.open(None) as reader:
            assert reader.row_count in (None, 1_234)

    async def test_only_the_columns_asked_for_are_read(self, tmp_path: Path) -> None:
        """Names that do not exist are left for the stage that wants them."""
        rows: list[TextRow] = [{"a": "1", "b": "2", "c": "3", "d": "4"}]
        source = self.make_source(rows, tmp_path)
        async with source.open(frozenset({"d", "b", "unknown"})) as reader:
            assert reader.schema.names == ["b", "d"]
            (chunk,) = await read_chunks(reader)
        assert chunk.to_pylist() == [{"b": "2", "d": "4"}]

    async def test_rows_are_counted_without_any_column(self, tmp_path: Path) -> None:
        """Asking for columns that do not exist does not lose rows."""
        source = self.make_source(_rows(2_345), tmp_path)
        async with source.open(frozenset({"unknown"})) as reader:
            assert reader.schema.names == []
            chunks = await read_chunks(reader)
        assert sum(chunk.num_rows for chunk in chunks) == 2_345

    async def test_nasty_text_survives(self, tmp_path: Path) -> None:
        """Quotes, line ends, NUL, emoji and right-to-left text come as they are."""
        rows: list[TextRow] = [
            {"id": str(at), "text": text, "note": f"{text}{text}"}
            for at, text in enumerate(NASTY_TEXTS)
            if text
        ]
        assert await read_rows(self.make_source(rows, tmp_path)) == rows

    async def test_very_long_cells_survive(self, tmp_path: Path) -> None:
        """A cell may be longer than any buffer on the way."""
        rows: list[TextRow] = [
            {"id": "1", "text": "short"},
            {"id": "2", "text": _LONG_CELL},
            {"id": "3", "text": "short again"},
        ]
        assert await read_rows(self.make_source(rows, tmp_path)) == rows

    async def test_missing_values_are_null(self, tmp_path: Path) -> None:
        """Also in a column that has no value for a long time."""
        rows: list[TextRow] = [{"id": str(at), "text": None} for at in range(3_000)]
        rows.append({"id": "last", "text": "here"})
        assert await read_rows(self.make_source(rows, tmp_path)) == rows

    async def test_a_source_can_be_opened_again(self, tmp_path: Path) -> None:
        """Opening is one pass; the description stays."""
        rows = _rows(5)
        source = self.make_source(rows, tmp_path)
        assert await read_rows(source) == rows
        assert await read_rows(source) == rows

    async def test_two_readers_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """Each opening has a place of its own in the input."""
        rows = _rows(5)
        source = self.make_source(rows, tmp_path)
        async with source.open(None) as first, source.open(None) as second:
            assert _values(await read_chunks(first)) == rows
            assert _values(await read_chunks(second)) == rows

    async def test_a_whole_pass_leaves_no_file_open(self, tmp_path: Path) -> None:
        """Reading to the end and leaving closes everything."""
        source = self.make_source(_rows(5), tmp_path)
        before = open_files()
        await read_rows(source)
        assert open_files() == before

    async def test_leaving_early_closes_everything(self, tmp_path: Path) -> None:
        """Files and temporary files are gone when the context is left."""
        source = self.make_source(_rows(_MANY_ROWS), tmp_path)
        files, before = _files(tmp_path), open_files()
        async with source.open(None) as reader:
            assert await reader.read() is not None
            opened = open_files() - before
        assert open_files() == before
        assert _files(tmp_path) == files
        assert [
            path for path in opened if path not in files and Path(path).exists()
        ] == []

    async def test_leaving_without_reading_closes_everything(
        self, tmp_path: Path
    ) -> None:
        """A pipeline that does not fit its input has opened it and reads nothing."""
        source = self.make_source(_rows(_MANY_ROWS), tmp_path)
        before = open_files()
        async with source.open(None):
            pass
        assert open_files() == before

    async def test_an_error_of_the_consumer_passes_unchanged(
        self, tmp_path: Path
    ) -> None:
        """The source closes and adds nothing."""
        source = self.make_source(_rows(_MANY_ROWS), tmp_path)
        before = open_files()
        error = RuntimeError("downstream")
        with pytest.raises(RuntimeError) as caught:
            async with source.open(None) as reader:
                await reader.read()
                raise error
        assert caught.value is error
        assert open_files() == before

    async def test_cancelling_a_read_closes_everything(self, tmp_path: Path) -> None:
        """A run that is cancelled in the middle of a chunk ends and leaves nothing."""
        source = self.make_source(_rows(_MANY_ROWS), tmp_path)
        before = open_files()
        with anyio.CancelScope() as scope:
            async with source.open(None) as reader:
                await reader.read()
                scope.cancel()
                while await reader.read() is not None:
                    await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert open_files() == before

    async def test_a_timeout_of_asyncio_closes_everything(self, tmp_path: Path) -> None:
        """It does not wait for threads as anyio does; closing has to."""
        source = self.make_source(_rows(_MANY_ROWS), tmp_path)
        before = open_files()
        async with source.open(None) as reader:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    while await reader.read() is not None:
                        await anyio.lowlevel.checkpoint()
        assert open_files() == before

    async def test_cancelling_while_opening_leaves_nothing(
        self, tmp_path: Path
    ) -> None:
        """A source that is never entered closes what it had begun to open."""
        source = self.make_source(_rows(5), tmp_path)
        before = open_files()
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with source.open(None):
                pytest.fail("the context must not be entered")
        assert scope.cancelled_caught
        assert open_files() == before


def _rows(count: int) -> list[TextRow]:
    return [{"id": str(at), "text": f"text of row {at}"} for at in range(count)]


def _values(chunks: Sequence[pa.RecordBatch]) -> list[Mapping[str, Any]]:
    return [row for chunk in chunks for row in chunk.to_pylist()]


def _files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.is_file()}
