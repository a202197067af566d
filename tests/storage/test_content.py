"""Whether input files are still the same."""

from pathlib import Path

import pytest

from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.sources.files import FileSource
from sutro_stream.sources.memory import RowsSource
from sutro_stream.storage.files import LocalFile
from sutro_stream.storage.unchanged import content_digest


def digest(*paths: Path, reading: str = "csv") -> str:
    """The digest of some files."""
    files = [LocalFile(path=path, label=path.name) for path in paths]
    return content_digest(files, reading=reading)


def written(path: Path, data: bytes) -> Path:
    """A new file."""
    path.write_bytes(data)
    return path


def test_names_do_not_count_and_content_does(tmp_path: Path) -> None:
    """A file that was moved is the same; one that was edited is not."""
    first = written(tmp_path / "a", b"x" * 3_000_000)
    moved = written(tmp_path / "b", b"x" * 3_000_000)
    edited = written(tmp_path / "c", b"x" * 2_999_999 + b"y")
    assert digest(first) == digest(moved)
    assert digest(first) != digest(edited)


def test_order_borders_and_reading_count(tmp_path: Path) -> None:
    """The same bytes in other files, another order or another format."""
    one, two = written(tmp_path / "1", b"ab"), written(tmp_path / "2", b"c")
    other, rest = written(tmp_path / "3", b"a"), written(tmp_path / "4", b"bc")
    variants = [
        digest(one, two),
        digest(two, one),
        digest(other, rest),
        digest(one, two, reading="parquet"),
    ]
    assert len(set(variants)) == 4


def test_large_files_are_sampled_at_both_ends(tmp_path: Path) -> None:
    """A sparse file of a gigabyte; its first and last byte count."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    empty = digest(path)
    with path.open("r+b") as file:
        file.seek((1 << 30) - 1)
        file.write(b"x")
    changed_end = digest(path)
    with path.open("r+b") as file:
        file.write(b"x")
    assert len({empty, changed_end, digest(path)}) == 3


async def test_an_opened_source_tells_its_identity(tmp_path: Path) -> None:
    """Equal for equal reading of equal content; rows from memory have none."""
    path = str(written(tmp_path / "a.csv", b"x;y\n1;2\n"))

    async def identity(source: FileSource | RowsSource) -> str | None:
        async with source.open(None) as reader:
            return await reader.identity()

    plain = await identity(FileSource(paths=path))
    assert plain == await identity(FileSource(paths=path))
    assert plain != await identity(
        FileSource(paths=path, options=CsvOptions(delimiter=";"))
    )
    assert await identity(RowsSource(rows=["a"])) is None


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    """As any other unreadable file."""
    with pytest.raises(FileNotFoundError, match="gone"):
        digest(tmp_path / "gone")
