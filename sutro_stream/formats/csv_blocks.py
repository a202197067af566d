"""CSV text in blocks of whole records, parsed one by one.

pyarrow's own streaming reader reads up to 32 blocks ahead, fails on a record longer
than a block, and cannot say in which line of the file an error is. So we cut, and
its parser parses.

Where records end is certain only after a look at every quote, which takes several
times as long as parsing. So the cut is guessed, and what is parsed tells whether it was
right: a quoted cell that was cut is the last one, and ends with the line end in it. The
block behind is guessed and parsed meanwhile, and dropped where the first one was wrong.

A block with a record of too few or too many fields is looked at record by record.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.errors import SourceError
from sutro_stream.formats.chunks import assemble, bad_row, sound_text, with_broken_cells
from sutro_stream.formats.csv_dialect import Dialect
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.csv_records import count_lines, is_blank
from sutro_stream.formats.format import Told
from sutro_stream.formats.text_stream import BrokenTextError, ByteStream, open_text
from sutro_stream.storage.stored import StoredFile, file_error
from sutro_stream.values.outcomes import RowError
from sutro_stream.values.rows import Refused, RowBatch

# Each call of the parser waits for a thread of its own: with half of this, all takes a
# fifth longer.
_BLOCK_BYTES = 2 << 20
_START_BYTES = 64
# Blocks that are parsed at the same time: more than there are cores, often, since each
# call of the parser waits for a thread of its own now and then.
_PARSERS = 3
# A guess that fails so often is made no more.
_MOST_WRONG = 4
_MIB = 1 << 20
_ESCAPED_QUOTE = re.compile(rb'\\"[^,;|\t\r\n"]')
_LEAST_LINES = 2
_LONG_CELLS_LOOKED_AT = 100


class CsvBlocks:
    """What is read and not parsed yet, and the place of that in the file."""

    def __init__(
        self,
        file: StoredFile,
        options: CsvOptions,
        dialect: Dialect,
        stream: ByteStream,
        *,
        told: Told,
        first_row: int,
    ) -> None:
        """The text is read from its start on.

        Args:
            file: For messages, and to count lines in.
            options: What the user said of it.
            dialect: What was found.
            stream: Its text.
            told: What its user should know.
            first_row: Index of its first row in the whole input.
        """
        self._file, self._options, self._stream = file, options, stream
        self._dialect, self._grammar = dialect, dialect.grammar
        self._encoding, self._told = dialect.encoding, told
        self._comment = (options.comment or "").encode()
        # Those that are nothing need a name for the parser.
        self._fields = [name or f"\0{at}" for at, name in enumerate(dialect.columns)]
        self._kept: list[str] = []
        self._rest = b""
        self._ended = self._broken = self._is_certain_next = False
        self._guesses = [dialect.grammar.last_line, dialect.grammar.last_even_line]
        if dialect.grammar.escape or options.comment:
            self._guesses = []
        self._wrong = 0
        self._fault_ahead: SourceError | None = None
        self._passed_bytes, self._lines = dialect.start, dialect.lines
        self._is_counting = False
        self._row = first_row
        self._looks_for_long = bool(dialect.grammar.quote)
        self._looks_for_escapes = self._looks_for_long and not dialect.grammar.escape

    def batches(self, kept: Sequence[str]) -> Iterator[RowBatch]:
        """All rows, with these columns.

        Raises:
            SourceError: A record does not end or is too long, or the text cannot be
                read on; behind the rows before it.
        """
        self._kept = list(kept)
        self._skip(self._dialect.start)
        guessed: deque[tuple[memoryview, Future[pa.RecordBatch | None]]] = deque()
        with ThreadPoolExecutor(_PARSERS) as parsers:
            while True:
                while len(guessed) < _PARSERS and (guess := self._guess()):
                    parsing = parsers.submit(self._guessed_rows, guess)
                    guessed.append((guess, parsing))
                if guessed:
                    guess, parsing = guessed.popleft()
                    records = parsing.result()
                    if records is None:
                        self._take_back([guess, *(guess for guess, _ in guessed)])
                        guessed.clear()
                        continue
                    block = bytes(guess)
                    yield from self._checked(block, records, [])
                else:
                    block = self._next_block()
                    if not block:
                        return
                    yield from self._certain(block)
                self._passed_bytes += len(block)
                if self._is_counting:
                    self._lines += count_lines(block)

    # Cutting.

    def _skip(self, size: int) -> None:
        while len(self._rest) < size and not self._ended:
            self._read_on()
        self._rest = self._rest[size:]

    def _take_back(self, blocks: Sequence[memoryview]) -> None:
        """Have one block parsed without a guess; a guess that often fails goes."""
        self._rest = b"".join([*blocks, self._rest])
        self._is_certain_next = True
        self._wrong += 1
        if self._wrong >= _MOST_WRONG and self._guesses:
            del self._guesses[0]
            self._wrong = 0

    def _guess(self) -> memoryview | None:
        """What are whole records if the guess is right; `None` to guess nothing now."""
        if self._is_certain_next or not self._guesses:
            return None
        is_over = self._ended or self._broken or self._fault_ahead is not None
        if len(self._rest) < _BLOCK_BYTES // 2 and not is_over:
            try:
                self._read_on()
            except SourceError as error:
                # What was read before comes out before: told when there is no more.
                self._fault_ahead = error
        end = self._guesses[0](self._rest)
        # Of blank lines nothing comes that could tell.
        if not end or is_blank(self._rest[: min(end, _START_BYTES)]):
            return None
        block, self._rest = memoryview(self._rest)[:end], self._rest[end:]
        return block

    def _next_block(self) -> bytes:
        """Whole records, as many as there are; `b""` at the end."""
        self._is_certain_next = False
        longest = self._options.max_row_bytes
        enough = min(longest, _BLOCK_BYTES)
        while not (end := self._grammar.complete(self._rest, enough)):
            if self._ended:
                if self._rest and self._grammar.first(self._rest) is None:
                    reason = "the file ends within a quoted cell of the row that begins"
                    raise self._error(f"{reason} in line {self._line()}")
                end = len(self._rest)
                break
            if len(self._rest) > longest:
                raise self._too_long()
            self._read_on()
        if end > longest and len(self._grammar.first(self._rest) or b"") > longest:
            raise self._too_long()
        block, self._rest = self._rest[:end], self._rest[end:]
        return block

    def _too_long(self) -> SourceError:
        return self._error(
            f"the row that begins in line {self._line()} is longer than "
            f"{self._options.max_row_bytes / _MIB:.3g} MiB (max_row_bytes); "
            "is a quote left open?"
        )

    def _read_on(self) -> None:
        if self._fault_ahead is not None:
            raise self._fault_ahead
        if self._broken:
            line = self._line() + count_lines(self._rest)
            raise self._error(f"line {line}: {self._broken_text()}")
        # As much again as there is: a long record is searched in linear time.
        size = max(_BLOCK_BYTES, len(self._rest))
        try:
            data = self._stream.read(size)
        except BrokenTextError as broken:
            data, self._broken = broken.good, True
        else:
            self._ended = not data
        self._rest += data

    # Parsing.

    def _parse(self, block: bytes | memoryview, *more: str) -> pa.RecordBatch:
        # No columns at all would mean every column.
        wanted = [*self._kept, *more] or self._fields[:1]
        is_null = self._options.empty == "null"
        return self._grammar.read(block, self._fields, wanted, empty_is_null=is_null)

    def _guessed_rows(self, block: memoryview) -> pa.RecordBatch | None:
        """The rows of a guess, `None` where it was wrong, or a row is."""
        try:
            records = self._parse(block, self._fields[-1])
        except pa.ArrowInvalid:
            return None
        last = records.column(self._fields[-1])[-1]
        if last.is_valid and last.as_buffer().to_pybytes().endswith(b"\n"):
            return None
        return records

    def _certain(self, block: bytes) -> Iterator[RowBatch]:
        """The rows of whole records."""
        if is_blank(block):
            return
        if not self._comment:
            try:
                records = self._parse(block)
            except pa.ArrowInvalid:
                # Its message holds the row.
                pass
            else:
                yield from self._checked(block, records, [])
                return
        yield from self._one_by_one(block)

    def _one_by_one(self, block: bytes) -> Iterator[RowBatch]:
        """The same where a record is not as it should be."""
        good: list[bytes] = []
        places: list[int | None] = []
        refused: list[Refused] = []
        expected = len(self._fields)
        for line, record in self._rows(block):
            fields = self._grammar.fields(record)
            if fields == expected:
                places.append(len(good))
                good.append(record if record[-1:] in b"\r\n" else record + b"\n")
                continue
            columns = "1 column" if fields == 1 else f"{fields} columns"
            reason = f"line {line}: {columns} where {expected} are expected"
            refused.append((len(places), bad_row(self._file, reason)))
            places.append(None)
        if not places:
            return
        # Of nothing the parser makes nothing.
        text = b"".join(good) or self._grammar.delimiter * (expected - 1) + b'""\n'
        records = self._parse(text)
        if records.num_rows != max(len(good), 1):
            raise self._error(f"cannot be parsed as CSV after line {self._line()}")
        records = records.take(pa.array(places, pa.int64()))
        yield from self._checked(block, records, refused)

    def _rows(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """The records that are rows, and the line that each begins in."""
        line = self._line()
        for record in self._grammar.records(block):
            if not (
                is_blank(record) or (self._comment and record.startswith(self._comment))
            ):
                yield line, record
            line += count_lines(record)

    def _checked(
        self, block: bytes, records: pa.RecordBatch, refused: list[Refused]
    ) -> Iterator[RowBatch]:
        """The rows, with text in all cells."""
        columns: list[pa.Array] = []
        broken: list[tuple[int, str]] = []
        for name in self._kept:
            column, offsets = sound_text(records.column(name))
            columns.append(column)
            broken += [(offset, name) for offset in offsets]
        self._look_closer(block, records.num_rows, columns)
        schema = pa.schema([(name, pa.string()) for name in self._kept])
        rows = RowBatch(
            records=assemble(columns, schema, rows=records.num_rows),
            first_index=self._row,
            refused=tuple(refused),
        )
        self._row += len(rows)
        if self._options.encoding_errors == "replace":
            self._told.replaced += len(broken)
            yield rows
            return
        errors = [self._broken_cell(*cell) for cell in self._places(block, broken)]
        cells = zip((offset for offset, _ in broken), errors, strict=True)
        yield from with_broken_cells(self._file, rows, list(cells), self._options)

    # Telling.

    def _places(
        self, block: bytes, cells: Sequence[tuple[int, str]]
    ) -> list[tuple[int, str]]:
        """The lines of cells, in place of the offsets of their rows."""
        if not cells:
            return []
        lines = [line for line, _ in self._rows(block)]
        return [(lines[offset], name) for offset, name in cells]

    def _broken_cell(self, line: int, name: str) -> RowError:
        self._told(
            f"{self._file.label}: {self._broken_text()}; or --encoding-errors replace"
        )
        reason = f"line {line}, column {name!r}: not {self._encoding} text"
        return bad_row(self._file, reason, name)

    def _broken_text(self) -> str:
        return (
            f"not all of it is {self._encoding} text; pass the encoding that the file "
            "has (--encoding cp1252, ...)"
        )

    def _look_closer(
        self, block: bytes, rows: int, columns: Sequence[pa.Array]
    ) -> None:
        """Tell what makes other cells of a file than somebody meant, most likely."""
        label = self._file.label
        if self._looks_for_escapes and _has_escaped_quote(block):
            self._looks_for_escapes = False
            self._told(
                f"{label}: quotes behind a backslash were read as they stand; if they "
                r"are escaped, read it with --escape-char '\'"
            )
        if not self._looks_for_long or block.count(b"\n") < rows + _LEAST_LINES:
            return
        for column in columns:
            offset = _row_like(column, self._grammar.delimiter.decode(), self._fields)
            if offset is not None:
                self._looks_for_long = False
                ((line, _),) = self._places(block, [(offset, "")])
                self._told(
                    f"{label}: line {line}: a cell in quotes goes on over lines that "
                    "look like rows; is its quote closed too late?"
                )
                return

    def _line(self) -> int:
        """The line that what is not passed yet begins in, counted from 1.

        What was passed is read again, once: counting all along would take time in
        files where nobody asks.
        """
        if not self._is_counting:
            self._is_counting = True
            self._lines = self._counted()
        return self._lines + 1

    def _counted(self) -> int:
        lines, left, ended_with_cr = 0, self._passed_bytes, False
        replacing = self._options.encoding_errors == "replace"
        with open_text(self._file, self._encoding, replacing=replacing) as stream:
            while left > 0:
                try:
                    data = stream.read(_BLOCK_BYTES)
                except BrokenTextError as broken:
                    data = broken.good
                if not data:
                    break
                data = data[:left]
                left -= len(data)
                lines += count_lines(data) - (ended_with_cr and data.startswith(b"\n"))
                ended_with_cr = data.endswith(b"\r")
        return lines

    def _error(self, reason: str) -> SourceError:
        return file_error(self._file, reason, row_index=self._row)


def _has_escaped_quote(block: bytes) -> bool:
    # The search for two bytes takes a tenth of that for a pattern.
    return b'\\"' in block and _ESCAPED_QUOTE.search(block) is not None


def _row_like(column: pa.Array, delimiter: str, fields: Sequence[str]) -> int | None:
    """The first cell of several lines, each of which could be a row of its own."""
    inner = len(fields) - 1
    lines = pc.count_substring(column, "\n")
    if not inner or (pc.max(lines).as_py() or 0) < _LEAST_LINES:
        return None
    offsets = pc.indices_nonzero(pc.greater_equal(lines, _LEAST_LINES)).to_pylist()
    for offset in offsets[:_LONG_CELLS_LOOKED_AT]:
        _, *others = column[offset].as_py().split("\n")
        if all(line.count(delimiter) == inner for line in others):
            return int(offset)
    return None
