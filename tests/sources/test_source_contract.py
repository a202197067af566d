"""Every source against the suite that all sources inherit."""

import csv
import gzip
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sutro_stream.sources.files import FileSource
from sutro_stream.sources.memory import RowsSource
from sutro_stream.sources.source import Source
from sutro_stream.testing.source_suite import SourceSuite, TextRow


def _schema(rows: list[TextRow]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in rows[0]])


def _write_csv(rows: list[TextRow], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class TestParquetSource(SourceSuite):
    def make_source(self, rows: list[TextRow], tmp_path: Path) -> Source:
        """Many small row groups."""
        table = pa.Table.from_pylist(rows, _schema(rows))
        pq.write_table(table, tmp_path / "rows.parquet", row_group_size=700)
        return FileSource(paths=tmp_path / "rows.parquet")


class TestParquetSourceOfSeveralFiles(SourceSuite):
    def make_source(self, rows: list[TextRow], tmp_path: Path) -> Source:
        """A folder of three files, one of them without rows."""
        table = pa.Table.from_pylist(rows, _schema(rows))
        for at, part in enumerate(
            [table.slice(0, 1), table.slice(0, 0), table.slice(1)]
        ):
            pq.write_table(part, tmp_path / f"part-{at}.parquet")
        return FileSource(paths=tmp_path)


class TestCsvSource(SourceSuite):
    def make_source(self, rows: list[TextRow], tmp_path: Path) -> Source:
        """Written by Python's own module."""
        _write_csv(rows, tmp_path / "rows.csv")
        return FileSource(paths=tmp_path / "rows.csv")


class TestCsvSourceOfSeveralFiles(SourceSuite):
    def make_source(self, rows: list[TextRow], tmp_path: Path) -> Source:
        """Two files and one with a header only, read by a glob."""
        _write_csv(rows[:1], tmp_path / "part-0.csv")
        _write_csv(rows[1:] or rows[:1], tmp_path / "part-2.csv")
        (tmp_path / "part-1.csv").write_text(",".join(rows[0]) + "\n")
        pattern = "part-[012].csv" if rows[1:] else "part-[01].csv"
        return FileSource(paths=str(tmp_path / pattern))


class TestCompressedCsvSource(SourceSuite):
    def make_source(self, rows: list[TextRow], tmp_path: Path) -> Source:
        """Packed with gzip."""
        _write_csv(rows, tmp_path / "rows")
        packed = gzip.compress((tmp_path / "rows").read_bytes(), 1)
        (tmp_path / "rows.csv.gz").write_bytes(packed)
        (tmp_path / "rows").unlink()
        return FileSource(paths=tmp_path / "rows.csv.gz")


class TestRowsSourceOfAList(SourceSuite):
    def make_source(self, rows: list[TextRow], tmp_path: Path) -> Source:  # noqa: ARG002 - as inherited
        """Mappings in a list."""
        return RowsSource(rows=rows)


class _Fresh:
    """Iterable of both kinds' worth: every iteration is a new generator."""

    def __init__(self, rows: list[TextRow]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[TextRow]:
        yield from self._rows


class _AsyncFresh:
    """The same as an async iterable."""

    def __init__(self, rows: list[TextRow]) -> None:
        self._rows = rows

    async def __aiter__(self) -> AsyncIterator[TextRow]:
        for row in self._rows:
            yield row


class TestRowsSourceOfAnIterable(SourceSuite):
    def make_source(self, rows: list[TextRow], tmp_path: Path) -> Source:  # noqa: ARG002 - as inherited
        """A class that makes generators."""
        return RowsSource(rows=_Fresh(rows))


class TestRowsSourceOfAnAsyncIterable(SourceSuite):
    def make_source(self, rows: list[TextRow], tmp_path: Path) -> Source:  # noqa: ARG002 - as inherited
        """A class that makes async generators."""
        return RowsSource(rows=_AsyncFresh(rows))


class TestRowsSourceOfATable(SourceSuite):
    def make_source(self, rows: list[TextRow], tmp_path: Path) -> Source:  # noqa: ARG002 - as inherited
        """An Arrow table of several chunks."""
        table = pa.Table.from_pylist(rows, _schema(rows))
        return RowsSource(rows=pa.concat_tables([table.slice(0, 1), table.slice(1)]))
