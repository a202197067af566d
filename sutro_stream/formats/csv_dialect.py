"""How one CSV file is written, as its first records show."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from sutro_stream.errors import SourceError
from sutro_stream.formats.chunks import distinct, sound_text
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.csv_records import Grammar, count_lines, is_blank
from sutro_stream.formats.format import Told
from sutro_stream.formats.text_stream import BrokenTextError, is_utf_8, open_text
from sutro_stream.storage.stored import StoredFile, file_error
from sutro_stream.storage.transfer import is_web_page

_SAMPLE_BYTES = 1 << 20
_SAMPLE_RECORDS = 1_000
_OTHERS = (";", "\t", "|")
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_BY_SUFFIX = {".tsv": "\t", ".tab": "\t", ".psv": "|"}
_SEPARATOR_LINE = re.compile(rb"sep=([^\r\n])\r?\n?", re.IGNORECASE)
# The parser takes some kilobytes for each.
_MOST_COLUMNS = 20_000
_LEGACY = "cp1252"
# A few bytes that are no text are a fault of their rows; more are another encoding.
_LEAST_FOREIGN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a file is written.

    Attributes:
        encoding: Of its bytes.
        grammar: Where its records and fields end.
        columns: A name for every field of a record, each once; `None` for one that
            is nothing, behind the others.
        start: Bytes of the text, as UTF-8, before the first row.
        lines: Line ends in them.
        ambiguous: Names that more than one column had.
    """

    encoding: str
    grammar: Grammar
    columns: tuple[str | None, ...]
    start: int
    lines: int
    ambiguous: frozenset[str]

    @property
    def names(self) -> list[str]:
        """Of the columns that there are."""
        return [name for name in self.columns if name is not None]


def find_dialect(file: StoredFile, options: CsvOptions, told: Told) -> Dialect:
    """Look at the first MiB of a file. Blocking.

    Raises:
        SourceError: It is empty, no text, or has lines before its header.
    """
    encoding, text, is_whole = _sample(file, options, told)
    if is_web_page(text[:1_000]):
        raise file_error(file, "this is a web page, not CSV")
    sample = _Sample(file, options, told, text, is_whole=is_whole)
    return sample.dialect(encoding)


def _sample(
    file: StoredFile, options: CsvOptions, told: Told
) -> tuple[str, bytes, bool]:
    """The encoding, the first text, and whether that is all."""
    text, is_whole = _first_text(file, options, options.encoding)
    if not is_utf_8(options.encoding) or options.encoding_errors != "refuse":
        return options.encoding, text, is_whole
    if not _looks_legacy(text):
        return options.encoding, text, is_whole
    told(
        f"{file.label}: the text is not UTF-8, and was read as {_LEGACY}; "
        "--encoding says otherwise"
    )
    return (_LEGACY, *_first_text(file, options, _LEGACY))


def _first_text(
    file: StoredFile, options: CsvOptions, encoding: str
) -> tuple[bytes, bool]:
    replacing = options.encoding_errors == "replace"
    text = b""
    with open_text(file, encoding, replacing=replacing) as stream:
        while len(text) < _SAMPLE_BYTES or b"\n" not in text:
            try:
                data = stream.read(_SAMPLE_BYTES)
            except BrokenTextError as broken:
                return text + broken.good, False
            if not data:
                return text, True
            text += data
            if len(text) > options.max_row_bytes:
                break
    return text, False


def _looks_legacy(text: bytes) -> bool:
    """Whether text that should be UTF-8 is one of Windows' western encodings.

    Then many lines are no UTF-8, none has a character of it beyond ASCII, and what is
    beyond ASCII are letters and signs that people write.
    """
    if text.isascii():
        return False
    foreign = 0
    for line in text.splitlines():
        if line.isascii():
            continue
        try:
            line.decode()
        except UnicodeDecodeError:
            foreign += 1
        else:
            return False
    if foreign < _LEAST_FOREIGN:
        return False
    try:
        beyond = [each for each in text.decode(_LEGACY) if not each.isascii()]
    except UnicodeDecodeError:
        return False
    letters = sum(each.isalpha() and each not in "ÿþ" for each in beyond)
    return letters * 2 > len(beyond)


class _Sample:
    """The first text of a file, looked at as records of one delimiter or another."""

    def __init__(
        self,
        file: StoredFile,
        options: CsvOptions,
        told: Told,
        text: bytes,
        *,
        is_whole: bool,
    ) -> None:
        self._file, self._options, self._told = file, options, told
        self._text, self._is_whole = text, is_whole
        self._start = 0

    def dialect(self, encoding: str) -> Dialect:
        options = self._options
        suffixes = (end for end in _BY_SUFFIX if end in self._file.name.lower())
        delimiter = options.delimiter or _BY_SUFFIX.get(next(suffixes, ""))
        self._skip_lines(options.skip_rows)
        said = _SEPARATOR_LINE.match(self._text, self._start)
        if said and options.header:
            self._start = said.end()
            delimiter = delimiter or said.group(1).decode(errors="replace")
        grammar = self._grammar(delimiter or ",")
        records = self._records(grammar)
        if not records:
            raise file_error(self._file, "the file is empty")
        if delimiter is None and grammar.fields(records[0]) == 1:
            grammar, records = self._agreed(grammar, records)
        counts = Counter(grammar.fields(record) for record in records[1:])
        has_header = options.header and options.column_names is None
        width = grammar.fields(records[0])
        if width > _MOST_COLUMNS:
            raise self._error(f"more than {_MOST_COLUMNS} columns", self._start)
        header: Sequence[str]
        if has_header:
            header = self._header(grammar, records[0])
            self._check_title(width, counts)
            self._start = self._text.index(records[0], self._start) + len(records[0])
        elif options.column_names is not None:
            header = list(options.column_names)
        else:
            header = [""] * width
        columns, ambiguous = self._columns(
            header, counts, records[has_header:], grammar
        )
        return Dialect(
            encoding=encoding,
            grammar=grammar,
            columns=columns,
            start=self._start,
            lines=count_lines(self._text[: self._start]),
            ambiguous=ambiguous,
        )

    def _grammar(self, delimiter: str) -> Grammar:
        return Grammar.of(
            delimiter, self._options.quote_char, self._options.escape_char
        )

    def _skip_lines(self, lines: int) -> None:
        for _ in range(lines):
            end = re.compile(rb"\r?\n|\r").search(self._text, self._start)
            if end is None:
                self._start = len(self._text)
                return
            self._start = end.end()

    def _records(self, grammar: Grammar) -> list[bytes]:
        text = self._text[self._start :]
        if not self._is_whole:
            text = text[: grammar.complete(text)] or text
        comment = (self._options.comment or "").encode()
        found = (
            record
            for record in grammar.records(text)
            if not is_blank(record) and not (comment and record.startswith(comment))
        )
        return list(islice(found, _SAMPLE_RECORDS))

    def _agreed(
        self, commas: Grammar, records: list[bytes]
    ) -> tuple[Grammar, list[bytes]]:
        """The delimiter that all records agree on, if there is one above one field."""
        for delimiter in _OTHERS:
            grammar = self._grammar(delimiter)
            others = self._records(grammar)
            counts = {grammar.fields(record) for record in others}
            if len(counts) == 1 and counts != {1}:
                self._told(
                    f"{self._file.label}: read with {_NAMES[delimiter]} between the "
                    "cells; --delimiter says otherwise"
                )
                return grammar, others
        return commas, records

    def _header(self, grammar: Grammar, record: bytes) -> list[str]:
        places = [str(place) for place in range(grammar.fields(record))]
        cells = grammar.read(record, places).columns
        return [sound_text(cell)[0][0].as_py() or "" for cell in cells]

    def _check_title(self, width: int, counts: Counter[int]) -> None:
        """Refuse a first line that is narrower than what most rows are."""
        if not counts:
            return
        usual, times = counts.most_common(1)[0]
        is_index = usual == width + 1 and len(counts) == 1 and width > 1
        if usual > width and times * 2 > counts.total() and not is_index:
            raise self._error(
                f"{_columns(width)} in the first line, where most rows have {usual}; "
                "is it a title or a comment? (--skip-rows N, --comment CHARACTER)",
                self._start,
            )

    def _columns(
        self,
        header: Sequence[str],
        counts: Counter[int],
        rows: Sequence[bytes],
        grammar: Grammar,
    ) -> tuple[tuple[str | None, ...], frozenset[str]]:
        """A name for every field, and those that were not the only ones."""
        width = len(header)
        given = list(header)
        if counts and set(counts) == {width + 1} and self._options.column_names is None:
            given.insert(0, "")
        named = len(given)
        while named and not given[named - 1].strip():
            named -= 1
        if named and self._is_empty_behind(named, rows, grammar):
            columns: list[str | None] = [*given[:named], *[None] * (len(given) - named)]
        else:
            columns = [*given]
        return distinct(columns, label=self._file.label, told=self._told)

    def _is_empty_behind(
        self, named: int, rows: Sequence[bytes], grammar: Grammar
    ) -> bool:
        width = max(map(grammar.fields, rows), default=named)
        places = [str(place) for place in range(width)]
        whole = [record for record in rows if grammar.fields(record) == width]
        if width <= named or not whole:
            return True
        cells = grammar.read(b"".join(whole), places, places[named:])
        return all(column.null_count == len(column) for column in cells.columns)

    def _error(self, reason: str, at: int) -> SourceError:
        line = 1 + count_lines(self._text[:at])
        return file_error(self._file, f"line {line}: {reason}")


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"
