import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError, SourceError
from sutro_stream.formats.chunks import CHUNK_ROWS
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import Told
from sutro_stream.sources.files import FileSource
from sutro_stream.sources.source import Reader
from sutro_stream.sources.threaded import ThreadedReader
from sutro_stream.testing.source_suite import read_chunks, read_refused, read_rows

MIB = 1 << 20


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file and returns its path."""

    def write(content: str | bytes, name: str = "rows.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


Written = Callable[..., Path]


async def _rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    return await read_rows(FileSource(paths=path, options=CsvOptions(**options)))


async def _values(path: Path, **options: Any) -> list[list[Any]]:
    return [list(row.values()) for row in await _rows(path, **options)]


async def _error(path: Path, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await _rows(path, **options)
    assert caught.value.path == str(path)
    return caught.value


def _told(reader: Reader) -> Told:
    assert isinstance(reader, ThreadedReader)
    return reader.told


async def _refused(path: Path, **options: Any) -> list[tuple[int, str]]:
    source = FileSource(paths=path, options=CsvOptions(**options))
    found = await read_refused(source)
    assert all(message.startswith(f"{path}: ") for _, message in found)
    return [(index, message.removeprefix(f"{path}: ")) for index, message in found]


async def test_every_cell_is_the_text_in_the_file(written: Written) -> None:
    """Nothing is taken for a number, a truth value or a missing one."""
    texts = ["007", "1e5", "NA", "null", "NaN", "true", " kept ", "2024-01-01", "-"]
    path = written("a,b\n" + "".join(f"{text},x\n" for text in texts))
    assert await _values(path) == [[text, "x"] for text in texts]


async def test_empty_cells_are_null(written: Written) -> None:
    """Quoted or not."""
    assert await _values(written('a,b\n,""\n')) == [[None, None]]


async def test_empty_cells_are_empty_text_by_option(written: Written) -> None:
    """Quoted or not."""
    assert await _values(written('a,b\n,""\n'), empty="empty") == [["", ""]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_line_ends_of_all_systems(written: Written, end: str) -> None:
    """And blank lines between rows are no rows."""
    path = written(end.join(["", "a,b", "", "1,2", "", "", "3,4"]))
    assert await _values(path) == [["1", "2"], ["3", "4"]]


async def test_line_ends_within_cells_are_kept(written: Written) -> None:
    """As they are in the file."""
    path = written('a,b\n"1\r\n2\n\n3\r","x"\n')
    assert await _values(path) == [["1\r\n2\n\n3\r", "x"]]


async def test_quotes_within_cells(written: Written) -> None:
    """Doubled in quoted cells; in others they are ordinary characters."""
    path = written('a,b\n"say ""hi""",5" pipe\n"x"y"z", "q\n')
    assert await _values(path) == [['say "hi"', '5" pipe'], ['xy"z"', ' "q']]


async def test_a_byte_order_mark_is_no_part_of_the_first_name(
    written: Written,
) -> None:
    """Spreadsheets write one."""
    assert await _rows(written(b"\xef\xbb\xbfa,b\n1,2\n")) == [{"a": "1", "b": "2"}]


async def test_a_mark_that_begins_a_block_is_content(written: Written) -> None:
    """Only the first of a file says something about the encoding."""
    rows = [["\ufeff" + "x" * 1_000, "y"]] * 3_000
    path = written("a,b\n" + "".join(f"{a},{b}\n" for a, b in rows))
    assert await _values(path) == rows


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "naïve €5"),
        ("latin-1", "ÄÖÜ ÿ"),
        ("utf-16", "Ω 漢字 👍"),
        ("utf-16-le", "Ω 漢字 👍"),
        ("utf-8-sig", "Ω"),
        ("shift_jis", "日本語テスト"),
        ("gb18030", "漢字 👍"),
    ],
)
async def test_other_encodings(written: Written, encoding: str, text: str) -> None:
    """Characters that fall on the edge of a block included."""
    rows = [[f"{at % 7 * 'x'}{text * 30}", text] for at in range(4_000)]
    content = "a,b\r\n" + "".join(f"{a},{b}\r\n" for a, b in rows)
    path = written(content.encode(encoding))
    assert await _values(path, encoding=encoding) == rows


@pytest.mark.parametrize("delimiter", [";", "|", "\t", "^", "]", "-", " "])
async def test_other_delimiters(written: Written, delimiter: str) -> None:
    """Also those that mean something in patterns."""
    path = written(f'a{delimiter}b\n"1{delimiter}",2\n'.replace(",", delimiter))
    assert await _values(path, delimiter=delimiter) == [[f"1{delimiter}", "2"]]


@pytest.mark.parametrize("quote", ["'", "|", "^", "\\"])
async def test_other_quote_characters(written: Written, quote: str) -> None:
    """The usual one is an ordinary character then."""
    path = written('a,b\n<1,"<<"\n2<,"\n'.replace("<", quote))
    assert await _values(path, quote_char=quote) == [[f'1,"{quote}"\n2', '"']]


async def test_files_without_quotes(written: Written) -> None:
    """Every line is a row and every delimiter counts."""
    path = written('a,b\n"1,2"\n')
    assert await _values(path, quote_char=None) == [['"1', '2"']]


async def test_tsv_is_separated_by_tabs(written: Written) -> None:
    """Unless a delimiter is given."""
    path = written("a\tb\n1,5\t2\n", "rows.tsv")
    assert await _rows(path) == [{"a": "1,5", "b": "2"}]
    path = written("a,b\n1\t5,2\n", "rows.tsv")
    assert await _rows(path, delimiter=",") == [{"a": "1\t5", "b": "2"}]


async def test_compressed_tsv_is_separated_by_tabs(written: Written) -> None:
    """The suffix before that of the compression says so."""
    path = written(gzip.compress(b"a\tb\n1\t2\n"), "rows.TSV.gz")
    assert await _rows(path) == [{"a": "1", "b": "2"}]


async def test_zstd(written: Written) -> None:
    """Several frames one after another are one file."""
    first, second = (
        pa.compress(part, "zstd", asbytes=True) for part in (b"a,b\n1,", b"2\n")
    )
    assert await _values(written(first + second, "rows.csv.zst")) == [["1", "2"]]


async def test_gzip_of_several_parts(written: Written) -> None:
    """Several parts one after another are one file."""
    content = gzip.compress(b"a,b\n1,") + gzip.compress(b"2\n")
    assert await _values(written(content, "rows.csv.gz")) == [["1", "2"]]


@pytest.mark.parametrize("module", [bz2, lzma], ids=["bz2", "xz"])
async def test_other_compressions(written: Written, module: Any) -> None:
    """Of several parts, too."""
    suffix = {bz2: "bz2", lzma: "xz"}[module]
    content = module.compress(b"a,b\n1,") + module.compress(b"2\n")
    assert await _values(written(content, f"rows.csv.{suffix}")) == [["1", "2"]]


async def test_compression_is_seen_without_a_suffix(written: Written) -> None:
    """By the first bytes, which no text begins with."""
    assert await _values(written(gzip.compress(b"a\n1\n"))) == [["1"]]


async def test_a_header_with_nasty_names(written: Written) -> None:
    """Quotes, line ends and delimiters belong to the name."""
    path = written('"a ""x"", y","line\nbreak",,\U0001f642\n1,2,3,4\n')
    (row,) = await _rows(path)
    assert list(row) == ['a "x", y', "line\nbreak", "column_3", "\U0001f642"]


async def test_files_without_a_header(written: Written) -> None:
    """Names are given and the first line is a row."""
    rows = await _rows(written("1,2\n3,4\n"), column_names=["x", "y"])
    assert rows == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]


async def test_declared_columns_restrict_the_source(written: Written) -> None:
    """In the order of the file."""
    source = FileSource(paths=written("a,b,c\n1,2,3\n"), columns=["c", "a"])
    assert await read_rows(source) == [{"a": "1", "c": "3"}]


async def test_a_declared_column_must_exist(written: Written) -> None:
    """The error names the file, the column and those there are."""
    path = written("a,b\n1,2\n")
    with pytest.raises(SourceError) as caught:
        await read_rows(FileSource(paths=path, columns=["x", "a"]))
    assert str(caught.value) == f"{path}: no column 'x' (columns: a, b)"


async def test_files_may_order_their_columns_differently(
    written: Written, tmp_path: Path
) -> None:
    """Cells are matched by the name of their column."""
    written("a,b\n1,2\n", "1.csv")
    written("b,a\n3,4\n", "2.csv")
    rows = await read_rows(FileSource(paths=tmp_path))
    assert rows == [{"a": "1", "b": "2"}, {"a": "4", "b": "3"}]


async def test_files_must_have_the_same_columns(
    written: Written, tmp_path: Path
) -> None:
    """Found before the first row."""
    first = written("a,b\n1,2\n", "1.csv")
    second = written("a,c\n1,2\n", "2.csv")
    with pytest.raises(SourceError) as caught:
        async with FileSource(paths=tmp_path).open(None):
            pass
    assert str(caught.value) == (
        f"{first}: it has no column 'c', which {second} has (columns: a, b); read them "
        "together with --union"
    )


async def test_files_may_differ_in_columns_that_nobody_wants(
    written: Written, tmp_path: Path
) -> None:
    """What is not asked for decides nothing."""
    written("a,b\n1,2\n", "1.csv")
    written("a,c\n3,4\n", "2.csv")
    rows = await read_rows(FileSource(paths=tmp_path), ["a"])
    assert rows == [{"a": "1"}, {"a": "3"}]


@pytest.mark.parametrize("text", ["1,2\n", '"1\n1",2\n', "\n1,2\n"])
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("header", ["a,b\n", '\r\n"a",\n"b\nb"\n'])
async def test_a_row_with_too_few_columns_is_refused_in_its_place(
    written: Written, header: str, rows: int, text: str
) -> None:
    """The line is that of an editor, whatever was quoted or blank before it."""
    before = header.replace(",\n", ",") + text * rows
    path = written(f"{before}secret\n1,2\n")
    line = before.count("\n") + 1
    reason = f"line {line}: 1 column where 2 are expected"
    assert await _refused(path) == [(rows, reason)]


async def test_lines_are_counted_over_many_blocks(written: Written) -> None:
    """Quoted line ends and blank lines in every one of them."""
    row = '"' + "x\r\n" * 10_000 + '",2\r\n\r\n'
    path = written("a,b\r\n" + row * 70 + "3\r\n" + row + "4\r\n")
    line = 1 + 10_002 * 70 + 1
    assert await _refused(path) == [
        (70, f"line {line}: 1 column where 2 are expected"),
        (72, f"line {line + 10_003}: 1 column where 2 are expected"),
    ]


async def test_a_row_with_too_many_columns_is_refused_in_its_place(
    written: Written,
) -> None:
    """Those around it are read."""
    path = written('a,b\n1,2\n3,"4\n5"\n\nsecret,6,7\n8,9\n')
    reason = "line 6: 3 columns where 2 are expected"
    assert await _refused(path) == [(2, reason)]
    async with FileSource(paths=path).open(None) as reader:
        batch = await reader.read()
    assert batch is not None
    assert batch.records.column("a").to_pylist() == ["1", "3", None, "8"]


async def test_many_bad_rows_far_behind_each_other(written: Written) -> None:
    """Every one has its own place and line, in files of many blocks."""
    row = "1," + "x" * 70 + "\n"
    parts = [row * 40_000 + "3\n"] * 5
    path = written("a,b\n" + "".join(parts))
    found = await _refused(path)
    places = [40_001 * part + 40_000 for part in range(5)]
    assert [index for index, _ in found] == places
    lines = [f"line {place + 2}: " for place in places]
    assert all(map(str.startswith, [text for _, text in found], lines))


async def test_a_wrong_row_of_a_later_file_has_its_own_line(
    written: Written, tmp_path: Path
) -> None:
    """Lines count in the file, rows in the whole input."""
    written("a,b\n1,2\n3,4\n", "1.csv")
    second = written("a,b\n5,6\n7\n", "2.csv")
    ((index, reason),) = await read_refused(FileSource(paths=tmp_path))
    assert index == 3
    assert reason.startswith(f"{second}: line 3: ")


async def test_a_cell_that_is_no_utf_8_is_named_by_line_and_column(
    written: Written,
) -> None:
    """It holds what could be made of it, for whom it is good enough."""
    path = written(b'a,b\n1,2\n3,"x\n\xe9"\n4,5\n')
    reason = "line 3, column 'b': not utf-8 text"
    assert await _refused(path) == [(1, reason)]
    async with FileSource(paths=path).open(None) as reader:
        batch = await reader.read()
        assert batch is not None
        assert batch.records.column("b")[1].as_py() == "x\n\ufffd"
        assert "--encoding" in str(list(_told(reader).notes))


async def test_a_name_that_is_no_utf_8_is_read_as_well_as_it_can_be(
    written: Written,
) -> None:
    """Names are text as well."""
    assert await _rows(written(b"a,\xff\n1,2\n")) == [{"a": "1", "\ufffd": "2"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
async def test_a_mark_says_what_a_file_is(written: Written, encoding: str) -> None:
    """Of UTF-16 or 32, where nothing else is said."""
    path = written("a,b\n1,\u20ac\n".encode(encoding))
    assert await _values(path) == [["1", "\u20ac"]]


async def test_text_of_an_old_encoding_is_told_from_broken_utf_8(
    written: Written,
) -> None:
    """Many lines with letters of it and none of UTF-8: nobody meant UTF-8."""
    lines = ["a,b", *[f"{at},K\u00f6ln caf\u00e9" for at in range(5)]]
    path = written("\n".join(lines).encode("cp1252"))
    assert (await _values(path))[4] == ["4", "K\u00f6ln caf\u00e9"]
    assert len(await _refused(written(b"a,b\n" + b"1,\xff\xfe\n" * 9))) == 9


@pytest.mark.parametrize("rows", [3, 3_000])
async def test_a_cell_of_another_broken_encoding_is_named_by_its_line(
    written: Written, rows: int
) -> None:
    """Also far into the file."""
    good = ("a,b\n" + f'"1\n1",{"é" * 400}\n' * rows).encode("cp1252")
    path = written(good + b"3,\x81\n4,5\n")
    reason = f"line {2 * rows + 2}, column 'b': not cp1252 text"
    assert await _refused(path, encoding="cp1252") == [(rows, reason)]


async def test_a_cut_character_at_the_end_is_broken(written: Written) -> None:
    """A file of two-byte characters with an odd length is damaged."""
    content = "a,b\n1,2\n".encode("utf-16-le") + b"x"
    error = await _error(written(content), encoding="utf-16-le")
    assert "line 3: not all of it is utf-16-le text" in str(error)


async def test_bytes_that_are_no_text_are_replaced_by_option(
    written: Written,
) -> None:
    """And counted."""
    path = written(b"a,b\n1,\xff\n")
    source = FileSource(paths=path, options=CsvOptions(encoding_errors="replace"))
    async with source.open(None) as reader:
        batch = await reader.read()
        assert batch is not None
        assert batch.records.to_pylist() == [{"a": "1", "b": "\ufffd"}]
        assert (batch.refused, _told(reader).replaced) == ((), 1)


async def test_bytes_that_are_no_text_end_the_reading_by_option(
    written: Written,
) -> None:
    """Behind the rows before them."""
    path = written(b"a,b\n1,2\n3,\xff\n")
    options = CsvOptions(encoding_errors="stop")
    async with FileSource(paths=path, options=options).open(None) as reader:
        batch = await reader.read()
        assert batch is not None
        assert len(batch) == 1
        with pytest.raises(SourceError, match="line 3, column 'b'") as caught:
            await reader.read()
    assert caught.value.row_index == 1


@pytest.mark.parametrize("content", [b"", b"\n\r\n\n", b"\xef\xbb\xbf"])
async def test_an_empty_file_is_an_error(written: Written, content: bytes) -> None:
    """Nothing, blank lines or a mark."""
    path = written(content)
    assert str(await _error(path)) == f"{path}: the file is empty"


@pytest.mark.parametrize("content", ["a,b\n", "a,b", "a,b\n\n\n"])
async def test_a_header_without_rows_is_an_error(
    written: Written, content: str
) -> None:
    """A run over nothing is most likely a mistake."""
    path = written(content)
    assert str(await _error(path)) == f"{path}: has no rows"


async def test_equal_names_are_told_apart(written: Written) -> None:
    """By their place; names that are there already are not given twice."""
    (row,) = await _rows(written("a,b,a,a_2,a\n1,2,3,4,5\n"))
    assert list(row) == ["a", "b", "a_3", "a_2", "a_4"]


async def test_lines_before_the_header_are_skipped_by_option(
    written: Written,
) -> None:
    """Without it they are a clear error, which names the option."""
    path = written("A report\n2024\n\na,b\n1,2\n3,4\n5,6\n")
    assert await _values(path, skip_rows=3) == [["1", "2"], ["3", "4"], ["5", "6"]]
    assert "--skip-rows" in str(await _error(path))


async def test_comments_are_no_rows_by_option(written: Written) -> None:
    """Before the header, between rows and at the end; not within cells."""
    path = written('# of a tool\na,b\n1,2\n# two, and\n"3\n# no",4\n#\n')
    assert await _values(path, comment="#") == [["1", "2"], ["3\n# no", "4"]]


async def test_files_without_names(written: Written) -> None:
    """The first line is a row, and columns are numbered."""
    rows = await _rows(written("1,2\n3,4\n"), header=False)
    assert rows[0] == {"column_1": "1", "column_2": "2"}


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
async def test_a_delimiter_that_all_records_agree_on_is_found(
    written: Written, delimiter: str
) -> None:
    """And said, since it is a guess."""
    path = written("a;b\n1;2,5\n".replace(";", delimiter))
    async with FileSource(paths=path).open(None) as reader:
        assert reader.schema.names == ["a", "b"]
        assert "--delimiter" in str(list(_told(reader).notes))


async def test_a_delimiter_that_not_all_records_agree_on_is_none(
    written: Written,
) -> None:
    """A column of text is one, whatever is in it."""
    path = written("text;really\nwell; yes; no\nno\n")
    assert await _values(path) == [["well; yes; no"], ["no"]]


async def test_a_line_that_names_the_delimiter_is_no_header(
    written: Written,
) -> None:
    """Excel writes one, and reads it."""
    assert await _rows(written("sep=;\r\na;b\r\n1;2\r\n")) == [{"a": "1", "b": "2"}]


async def test_escaped_quotes_by_option(written: Written) -> None:
    """As Spark and MySQL write them; line ends and delimiters among them."""
    path = written('a,b\n1,"x \\"y\\",\n z"\n2,a\\,b\n')
    assert await _values(path, escape_char="\\") == [
        ["1", 'x "y",\n z'],
        ["2", "a,b"],
    ]


async def test_a_column_of_row_numbers_needs_no_header(written: Written) -> None:
    """Where every row has one cell more than the header."""
    rows = await _rows(written("a,b\n0,1,2\n1,3,4\n"))
    assert rows[1] == {"column_1": "1", "a": "3", "b": "4"}


async def test_a_quote_left_open_is_named_by_its_line(written: Written) -> None:
    """The row that begins it, not the end of the file."""
    error = await _error(written('a,b\n1,2\n3,"4\n5,6\n'))
    assert str(error).endswith(
        "the file ends within a quoted cell of the row that begins in line 3"
    )


async def test_a_row_may_be_much_longer_than_a_block(written: Written) -> None:
    """Rows around it are read as well."""
    long = 'x"\n,' * MIB
    quoted = long.replace('"', '""')
    path = written(f'a,b\n1,2\n"{quoted}",3\n4,"{quoted}"\n5,6\n')
    assert await _values(path) == [["1", "2"], [long, "3"], ["4", long], ["5", "6"]]


async def test_a_row_beyond_the_limit_is_an_error(written: Written) -> None:
    """It tells the line, the limit, and what is the likely reason."""
    path = written('a,b\n1,2\n3,"' + "x\n" * (3 * MIB) + '"\n')
    error = await _error(path, max_row_bytes=2 * MIB)
    assert str(error) == (
        f"{path}: the row that begins in line 3 is longer than 2 MiB "
        "(max_row_bytes); is a quote left open?"
    )


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.csv.zst"])
async def test_a_suffix_of_compression_must_be_true(
    written: Written, name: str
) -> None:
    """The error says which is wrong."""
    assert "its content is not" in str(await _error(written("a,b\n1,2\n", name)))


async def test_damaged_compression_is_an_error(written: Written) -> None:
    """A download that was cut, for example."""
    content = gzip.compress(b"a,b\n" + b"1,2\n" * 1_000)
    path = written(content[:-20], "rows.csv.gz")
    assert (
        str(await _error(path)) == f"{path}: the compressed file is cut off or damaged"
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PAR1xxxxPAR1", "this is a Parquet file, not text"),
        (b"PK\x03\x04xxxx", "this is a ZIP archive or an Excel workbook, not text"),
        (b"<!DOCTYPE html><html>", "this is a web page, not CSV"),
    ],
)
async def test_other_files_are_recognised(
    written: Written, content: bytes, what: str
) -> None:
    """Better than an error about some line of theirs."""
    assert what in str(await _error(written(content)))


async def test_short_rows_make_chunks_of_bounded_length(written: Written) -> None:
    """A block of many tiny rows is cut."""
    path = written("a\n" + "1\n" * 40_000)
    async with FileSource(paths=path).open(None) as reader:
        chunks = await read_chunks(reader)
    assert max(chunk.num_rows for chunk in chunks) <= CHUNK_ROWS


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ",,"},
        {"delimiter": ""},
        {"delimiter": "\n"},
        {"delimiter": "é"},
        {"delimiter": '"'},
        {"quote_char": "''"},
        {"encoding": "utf-9"},
        {"encoding": "base64"},
        {"encoding": ""},
        {"empty": "none"},
        {"column_names": []},
        {"max_row_bytes": 0},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    """Before any file is opened."""
    with pytest.raises(ConfigurationError):
        CsvOptions(**options)


def test_a_chunk_has_at_least_one_row() -> None:
    """Found when the source is described."""
    with pytest.raises(ConfigurationError, match="chunk_rows"):
        FileSource(paths="a.csv", chunk_rows=0)
