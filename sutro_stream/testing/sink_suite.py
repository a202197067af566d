"""What every sink must do, as a test class to inherit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pyarrow as pa
import pytest

from sutro_stream.errors import SinkError
from sutro_stream.sinks.sink import Sink

SCHEMA = pa.schema([("row", pa.int64()), ("text", pa.string()), ("note", pa.string())])

NASTY_TEXTS = (
    "",
    " ",
    '"',
    '""',
    "'",
    ",",
    ";",
    "\t",
    "\n",
    "\r",
    "\r\n",
    'first "line"\nsecond, line\r\nthird',
    " kept at both ends ",
    "\x00",
    "NUL in the \x00 middle",
    "\\",
    "\\n",
    "\x1b[31m \x7f \x01",
    "\ufeffmark",
    "\u2028 \u2029 \x85",
    "👩\u200d👩\u200d👧 🏳️\u200d🌈",
    "مرحبا שלום \u202e אבג",
    "Ω≈ç√∫ ﷽ 漢字",
    "007",
    "1e5",
    "null",
    "NULL",
    "NaN",
    "true",
    "#not a comment",
    "=1+1",
    '{"a": "b"}',
)


class SinkSuite:
    """Tests of the contract in `sinks.sink`; a subclass names a sink and a reader.

    Tests are coroutines: run them with pytest-asyncio in automatic mode, or mark
    the subclass for the runner of your choice.

    Attributes:
        file_name: Name of the files to write, with the suffix of the format.
    """

    file_name: str

    def make_sink(self, path: Path) -> Sink:
        """The sink under test."""
        raise NotImplementedError

    def read_back(self, path: Path) -> list[dict[str, Any]]:
        """All rows of a finished file, numbers as `int`, nulls as `None`.

        Read with something that does not share code with the sink.
        """
        raise NotImplementedError

    def read_columns(self, path: Path) -> Sequence[str] | None:
        """Column names of a finished file without rows; `None`: it cannot tell."""
        raise NotImplementedError

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """The final name, alone in its folder."""
        return tmp_path / self.file_name

    async def test_nothing_has_the_final_name_before_finish(self, path: Path) -> None:
        """However many rows are written, the file appears only when it is whole."""
        async with self.make_sink(path).open(SCHEMA) as writer:
            assert not path.exists()
            await writer.write(_records(range(20_000)))
            assert not path.exists()
            await writer.finish()
            assert path.exists()

    async def test_the_file_is_whole_after_finish(self, path: Path) -> None:
        """`finish` completes the file, also before the context is left."""
        rows = _rows(range(1_000))
        async with self.make_sink(path).open(SCHEMA) as writer:
            await writer.write(_batch(rows))
            await writer.finish()
            assert self.read_back(path) == rows
        assert self.read_back(path) == rows

    async def test_only_the_file_is_left_after_finish(self, path: Path) -> None:
        """The temporary file is gone once its content has the final name."""
        await self._write(path, [_records(range(10))])
        assert _names(path.parent) == [path.name]

    async def test_the_temporary_file_is_hidden_and_beside_the_final_name(
        self, path: Path
    ) -> None:
        """It shows while rows are written that the folder can be written to."""
        async with self.make_sink(path).open(SCHEMA):
            (name,) = _names(path.parent)
            assert name.startswith(".")

    async def test_leaving_without_finish_leaves_nothing(self, path: Path) -> None:
        """An end without `finish` is not a result."""
        async with self.make_sink(path).open(SCHEMA) as writer:
            await writer.write(_records(range(20_000)))
        assert _names(path.parent) == []

    async def test_an_error_inside_leaves_nothing(self, path: Path) -> None:
        """The error passes unchanged and the temporary file goes."""
        error = RuntimeError("upstream")
        with pytest.raises(RuntimeError) as caught:
            async with self.make_sink(path).open(SCHEMA) as writer:
                await writer.write(_records(range(20_000)))
                raise error
        assert caught.value is error
        assert _names(path.parent) == []

    async def test_cancelling_leaves_nothing(self, path: Path) -> None:
        """A cancelled run removes what it began."""
        with anyio.CancelScope() as scope:
            async with self.make_sink(path).open(SCHEMA) as writer:
                await writer.write(_records(range(20_000)))
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert _names(path.parent) == []

    async def test_cancelling_before_finish_leaves_nothing(self, path: Path) -> None:
        """A `finish` that never began has no effect."""
        with anyio.CancelScope() as scope:
            async with self.make_sink(path).open(SCHEMA) as writer:
                await writer.write(_records(range(10)))
                scope.cancel()
                await writer.finish()
        assert _names(path.parent) == []

    async def test_no_rows_make_a_valid_file_with_all_columns(self, path: Path) -> None:
        """An empty result is a file as well."""
        await self._write(path, [])
        assert self.read_back(path) == []
        assert self.read_columns(path) in (None, SCHEMA.names)

    async def test_batches_without_rows_add_none(self, path: Path) -> None:
        """Empty record batches may come at any time."""
        empty = _batch([])
        await self._write(path, [empty, _records(range(3)), empty, empty])
        assert self.read_back(path) == _rows(range(3))

    async def test_many_small_writes_keep_their_order(self, path: Path) -> None:
        """Joining small batches neither loses nor moves a row."""
        sizes = [1, 3, 1, 0, 7] * 250 + [9_000, 1, 1, 5_000] + [1] * 300
        batches, start = [], 0
        for size in sizes:
            batches.append(_records(range(start, start + size)))
            start += size
        await self._write(path, batches)
        assert [row["row"] for row in self.read_back(path)] == list(range(start))

    async def test_slices_of_a_larger_batch_are_written_as_they_are(
        self, path: Path
    ) -> None:
        """Only the rows of the slice count, not the memory behind it."""
        whole = _records(range(100))
        await self._write(path, [whole.slice(90), whole.slice(5, 5)])
        assert self.read_back(path) == _rows([*range(90, 100), *range(5, 10)])

    async def test_nasty_text_survives(self, path: Path) -> None:
        """Quotes, line ends, NUL, emoji and right-to-left text come back."""
        rows: list[dict[str, Any]] = [
            {"row": at, "text": text, "note": NASTY_TEXTS[-at]}
            for at, text in enumerate(NASTY_TEXTS)
        ]
        await self._write(path, [_batch(rows)])
        assert self.read_back(path) == rows

    async def test_very_long_cells_survive(self, path: Path) -> None:
        """A cell may be longer than any buffer on the way."""
        text = 'x"y,\n' * 60_000
        rows: list[dict[str, Any]] = [
            {"row": at, "text": text, "note": "short"} for at in range(3)
        ]
        await self._write(path, [_batch([row]) for row in rows])
        assert self.read_back(path) == rows

    async def test_null_is_not_empty_text(self, path: Path) -> None:
        """A row without a value and a row with an empty one stay different."""
        rows: list[dict[str, Any]] = [
            {"row": 0, "text": None, "note": ""},
            {"row": 1, "text": "", "note": None},
            {"row": 2, "text": None, "note": None},
        ]
        await self._write(path, [_batch(rows)])
        assert self.read_back(path) == rows

    async def test_an_existing_file_is_replaced_by_finish(self, path: Path) -> None:
        """Until then it stays, afterwards nothing of it is left."""
        path.write_bytes(b"old" * 10_000)
        async with self.make_sink(path).open(SCHEMA) as writer:
            await writer.write(_records(range(10)))
            assert path.read_bytes() == b"old" * 10_000
            await writer.finish()
        assert self.read_back(path) == _rows(range(10))

    async def test_an_existing_file_survives_a_failure(self, path: Path) -> None:
        """A failed run costs nobody the result of the last one."""
        path.write_bytes(b"old")
        with pytest.raises(RuntimeError):
            async with self.make_sink(path).open(SCHEMA) as writer:
                await writer.write(_records(range(20_000)))
                raise RuntimeError
        assert path.read_bytes() == b"old"
        assert _names(path.parent) == [path.name]

    async def test_a_missing_folder_is_an_error_on_opening(self, path: Path) -> None:
        """Nobody pays for answers that have no place to go."""
        final = path.parent / "missing" / path.name
        await self._refuse(final)
        assert _names(path.parent) == []

    async def test_a_folder_under_the_final_name_is_an_error_on_opening(
        self, path: Path
    ) -> None:
        """A folder is never replaced."""
        path.mkdir()
        await self._refuse(path)
        assert path.is_dir()

    async def test_a_file_in_place_of_the_folder_is_an_error_on_opening(
        self, path: Path
    ) -> None:
        """`out.csv/out.csv` is no place."""
        path.write_bytes(b"")
        await self._refuse(path / path.name)

    async def test_rows_of_another_schema_are_an_error(self, path: Path) -> None:
        """A file has one set of columns."""
        with pytest.raises(SinkError):
            async with self.make_sink(path).open(SCHEMA) as writer:
                await writer.write(pa.record_batch({"other": [1]}))
        assert _names(path.parent) == []

    async def test_nothing_can_be_written_after_finish(self, path: Path) -> None:
        """A finished file does not change any more."""
        async with self.make_sink(path).open(SCHEMA) as writer:
            await writer.finish()
            with pytest.raises(SinkError):
                await writer.write(_records(range(1)))
            with pytest.raises(SinkError):
                await writer.finish()
        assert self.read_back(path) == []

    async def test_a_sink_can_be_opened_again(self, path: Path) -> None:
        """It is a description; each opening is a file of its own."""
        sink = self.make_sink(path)
        for rows in (range(5), range(5, 8)):
            async with sink.open(SCHEMA) as writer:
                await writer.write(_records(rows))
                await writer.finish()
        assert self.read_back(path) == _rows(range(5, 8))

    async def _write(self, path: Path, batches: Iterable[pa.RecordBatch]) -> None:
        async with self.make_sink(path).open(SCHEMA) as writer:
            for records in batches:
                await writer.write(records)
            await writer.finish()

    async def _refuse(self, path: Path) -> None:
        with pytest.raises(SinkError) as caught:
            async with self.make_sink(path).open(SCHEMA):
                raise AssertionError("the sink has opened")
        assert caught.value.path == str(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def _rows(indices: Iterable[int]) -> list[dict[str, Any]]:
    return [
        {"row": index, "text": f'row "{index}"', "note": None if index % 3 else "n"}
        for index in indices
    ]


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=SCHEMA)


@cache
def _records(indices: range) -> pa.RecordBatch:
    return _batch(_rows(indices))


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())
