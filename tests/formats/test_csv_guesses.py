"""Files of several blocks, whose ends are guessed."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sutro_stream.errors import SourceError
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.sources.files import FileSource
from sutro_stream.testing.source_suite import read_refused, read_rows

ROWS = 30_000
TEXT = "x" * 150
PIECE_BYTES = 2 << 20

# What the second cell holds: the file has at least two blocks of each kind.
CELLS: dict[str, Callable[[int], str]] = {
    "plain": lambda at: f"{at} {TEXT}",
    "lines": lambda at: f"{at} {TEXT}\n" * (at % 3),
    "nothing but lines": lambda _: "\n" * 150,
    "rows in a cell": lambda at: f"{TEXT}\n1,2,3\n" * (at % 3),
    "quotes": lambda at: f'"{at}" "" {TEXT}"',
    "quotes and lines": lambda at: f'{at}"\n"{TEXT}"\n' * (at % 3),
}


def written(path: Path, rows: Sequence[Sequence[str]], end: str = "\n") -> Path:
    """A file as the standard library writes it."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
@pytest.mark.parametrize("place", [1, 2], ids=["inner", "last"])
async def test_rows_are_those_that_were_written(
    tmp_path: Path, cell: Callable[[int], str], place: int, end: str
) -> None:
    """Whatever is in the cells, and however lines end."""
    rows = [[str(at), "b", "c"] for at in range(ROWS)]
    for at, row in enumerate(rows):
        row[place] = cell(at)
    path = written(tmp_path / "a.csv", [["a", "b", "c"], *rows], end)
    # The last column, which tells whether a guess was right, is not asked for.
    found = await read_rows(FileSource(paths=path, columns=["a", "b"]))
    expected = [(row[0], row[1] or None) for row in rows]
    assert [(row["a"], row["b"]) for row in found] == expected


async def test_lines_may_end_with_cr_alone(tmp_path: Path) -> None:
    """The only LF are in cells, and none of them ends a row."""
    rows = [[str(at), f"{TEXT}\n"] for at in range(ROWS)]
    path = written(tmp_path / "a.csv", [["a", "b"], *rows], "\r")
    found = await read_rows(FileSource(paths=path))
    assert [[row["a"], row["b"]] for row in found] == rows


async def test_a_blank_line_may_be_all_that_is_before_the_last_row(
    tmp_path: Path,
) -> None:
    """There is nothing in it to guess by."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n\n1,2")
    assert await read_rows(FileSource(paths=path)) == [{"a": "1", "b": "2"}]


async def test_quotes_amid_cells_are_ordinary_characters(tmp_path: Path) -> None:
    """They make even and odd numbers of quotes mean nothing."""
    path = tmp_path / "a.csv"
    line = f'5" disk,"two\nlines {TEXT}"\n'
    path.write_text("a,b\n" + line * ROWS)
    found = await read_rows(FileSource(paths=path))
    assert len(found) == ROWS
    assert found[-1] == {"a": '5" disk', "b": f"two\nlines {TEXT}"}


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
async def test_errors_far_behind_name_line_and_row(tmp_path: Path, end: str) -> None:
    """Cells of two lines and blank lines count as what they are."""
    head = ["a,b", f'1,"two\n{TEXT}"', "", *([f"2,{TEXT}"] * ROWS)]
    path = tmp_path / "a.csv"
    path.write_text(end.join([*head, "1,2,3", ""]), newline="")
    ((index, reason),) = await read_refused(FileSource(paths=path))
    assert f"line {len(head) + 2}: 3 columns" in reason
    assert index == ROWS + 1


async def test_lines_are_counted_in_other_encodings(tmp_path: Path) -> None:
    """The place is one in the text, not in the file."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + f"\u00e9,{TEXT}\n" * ROWS + "1,2,3\n", encoding="utf-16")
    source = FileSource(paths=path, options=CsvOptions(encoding="utf-16"))
    ((_, reason),) = await read_refused(source)
    assert f"line {ROWS + 2}: 3 columns" in reason


async def test_rows_before_damage_come_out_before_the_error(tmp_path: Path) -> None:
    """Also where it was met behind a guess that turns out to be wrong."""
    path = tmp_path / "a.csv.gz"
    plain = "".join(f"{at},{TEXT}\n" for at in range(2 * PIECE_BYTES // len(TEXT)))
    split = f'0,"{TEXT}\n{TEXT}\n"\n' * (PIECE_BYTES // len(TEXT))
    text = f"a,b\n{plain}{split}".encode()
    # Not packed, so that three pieces are whole, and then it ends.
    path.write_bytes(gzip.compress(text, compresslevel=0)[: 3 * PIECE_BYTES + 50_000])
    rows: list[str] = []
    with pytest.raises(SourceError, match="cut off or damaged"):
        async with FileSource(paths=path).open(None) as reader:
            while (chunk := await reader.read()) is not None:
                rows += chunk.records.column("b").to_pylist()
    assert rows[plain.count("\n")] == f"{TEXT}\n{TEXT}\n"
    whole = sum(map(len, rows)) + len(rows)
    assert whole > 3 * PIECE_BYTES - PIECE_BYTES // 4


async def test_a_wrong_guess_drops_what_was_guessed_behind_it(tmp_path: Path) -> None:
    """The first block is right, the others are cut within cells."""
    path = tmp_path / "a.csv"
    plain = [f"{at},{TEXT}\n" for at in range(ROWS)]
    lines = [f'{at},"{TEXT}\n{TEXT}\n"\n' for at in range(ROWS)]
    path.write_text("a,b\n" + "".join(plain + lines + plain))
    found = await read_rows(FileSource(paths=path))
    assert [row["a"] for row in found] == [str(at) for at in range(ROWS)] * 3
    assert found[ROWS]["b"] == f"{TEXT}\n{TEXT}\n"
