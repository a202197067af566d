"""CSV text in blocks of whole records, parsed one by one.

pyarrow's own streaming reader reads up to 32 blocks ahead, fails on a record longer
than a block, and cannot say in which line of the file an error is. So we cut, and
its parser parses.

Where records end is certain only after a look at every quote, which takes several
times as long as parsing. So the cut is guessed, and what is parsed tells whether it was
right: a quoted cell that was cut is the last one, and ends with the line end in it. The
block behind is guessed and parsed meanwhile, and dropped where the first one was wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.csv as pa_csv

from sutro_stream.errors import SourceError
from sutro_stream.formats.chunks import there_are
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.csv_records import Grammar, count_lines, is_blank
from sutro_stream.formats.text_stream import (
    BrokenTextError,
    ByteStream,
    broken_text_reason,
    open_text,
)
from sutro_stream.storage.files import LocalFile

# Each call of the parser waits for a thread of its own: with half of this, all takes a
# fifth longer.
_BLOCK_BYTES = 2 << 20
_START_BYTES = 64
# Blocks that are parsed at the same time: more than there are cores, often, since each
# call of the parser waits for a thread of its own now and then.
_PARSERS = 3
_MARK = b"\xef\xbb\xbf"
_MIB = 1 << 20
# The parser takes some kilobytes for each.
_MOST_COLUMNS = 20_000


@contextmanager
def open_csv_text(
    file: LocalFile, options: CsvOptions, *, first_row: int = 0
) -> Iterator[CsvText]:
    """One CSV file, open and at its start. Blocking.

    Args:
        file: What to open.
        options: How it is written.
        first_row: 0-based position of its first row in the whole input.

    Raises:
        SourceError: It cannot be opened, or is something else than text.
    """
    with open_text(file, options.encoding) as stream:
        yield CsvText(file, options, stream, first_row=first_row)


class CsvText:
    """What is read and not parsed yet, and the place of that in the file."""

    def __init__(
        self,
        file: LocalFile,
        options: CsvOptions,
        stream: ByteStream,
        *,
        first_row: int,
    ) -> None:
        suffixes = [suffix.lower() for suffix in file.path.suffixes[-2:]]
        delimiter = options.delimiter or ("\t" if ".tsv" in suffixes else ",")
        self._file = file
        self._options = options
        self._stream = stream
        self._grammar = Grammar.of(delimiter, options.quote_char)
        self._parse_options = pa_csv.ParseOptions(
            delimiter=delimiter,
            quote_char=options.quote_char or False,
            newlines_in_values=True,
        )
        self._rest = b""
        self._start = b""
        self._ended = False
        self._broken = False
        self._guesses = [self._grammar.last_line, self._grammar.last_even_line]
        self._fault_ahead: SourceError | None = None
        self._passed_bytes = 0
        self._row = first_row

    def header(self) -> list[str]:
        """Names of the columns: those given, or else the first line, now read.

        Raises:
            SourceError: There is no first line, or it is not text.
        """
        if self._options.column_names is not None:
            return list(self._options.column_names)
        while block := self._next_block(enough=1):
            at = 0
            for record in self._grammar.records(block):
                at += len(record)
                if not is_blank(record):
                    names = self._names(record)
                    self._rest = block[at:] + self._rest
                    self._passed_bytes += at
                    return names
            self._passed_bytes += len(block)
        reason = "the file is empty"
        raise self._file.error(reason)

    def batches(
        self, names: Sequence[str], kept: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        """All rows from here on.

        Args:
            names: The columns there are.
            kept: Those wanted, in order.

        Raises:
            SourceError: A record does not end, is too long, does not have the
                columns, or is not text.
        """
        guessed: deque[tuple[memoryview, Future[pa.RecordBatch | None]]] = deque()
        with ThreadPoolExecutor(_PARSERS) as parsers:
            while True:
                while len(guessed) < _PARSERS and (guess := self._guess()):
                    rows = parsers.submit(self._guessed_rows, guess, names, kept)
                    guessed.append((guess, rows))
                if guessed:
                    guess, parsing = guessed.popleft()
                    size, batch = len(guess), parsing.result()
                    if batch is None:
                        behind = [guess for guess, _ in guessed]
                        guessed.clear()
                        self._rest = b"".join([guess, *behind, self._rest])
                        # It is not made again: the next one takes longer.
                        del self._guesses[0]
                        continue
                else:
                    size, batch = self._certain(names, kept)
                    if not size:
                        return
                if batch is not None:
                    yield batch
                    self._row += batch.num_rows
                self._passed_bytes += size

    def _guess(self) -> memoryview | None:
        """What are whole records if the guess is right; `None` to guess nothing now."""
        is_over = self._ended or self._broken or self._fault_ahead is not None
        if len(self._rest) < _BLOCK_BYTES // 2 and not is_over:
            try:
                self._read_on()
            except SourceError as error:
                # What was read before comes out before: told when there is no more.
                self._fault_ahead = error
        end = self._guesses[0](self._rest) if self._guesses else 0
        # Of blank lines nothing comes that could tell.
        if not end or is_blank(self._rest[: min(end, _START_BYTES)]):
            return None
        block, self._rest = memoryview(self._rest)[:end], self._rest[end:]
        return block

    def _guessed_rows(
        self, block: memoryview, names: Sequence[str], kept: Sequence[str]
    ) -> pa.RecordBatch | None:
        """The rows of a guess, `None` where it was wrong."""
        try:
            batch = self._rows(block, names, [*kept, names[-1]])
        except pa.ArrowInvalid:
            return None
        last = batch.column(names[-1])[-1].as_py()
        if last is not None and last.endswith("\n"):
            return None
        return batch.select(list(kept))

    def _certain(
        self, names: Sequence[str], kept: Sequence[str]
    ) -> tuple[int, pa.RecordBatch | None]:
        """Bytes of some records and their rows; 0 at the end, no rows if all blank."""
        block = self._next_block()
        if not block or is_blank(block):
            return len(block), None
        return len(block), self._parse(block, names, kept)

    def _names(self, record: bytes) -> list[str]:
        count = self._grammar.fields(record)
        if count > _MOST_COLUMNS:
            raise self._error(f"line {self._line()}: more than {_MOST_COLUMNS} columns")
        places = [str(place) for place in range(count)]
        cells = self._parse(record, places, places).to_pylist()[0]
        return [cells[place] or "" for place in places]

    def _parse(
        self, block: bytes, names: Sequence[str], kept: Sequence[str]
    ) -> pa.RecordBatch:
        # No columns at all would mean every column.
        try:
            batch = self._rows(block, names, kept or names[:1])
        except pa.ArrowInvalid:
            # Its message holds the row.
            raise self._fault(block, names) from None
        return batch.select(list(kept))

    def _rows(
        self, block: bytes | memoryview, names: Sequence[str], included: Sequence[str]
    ) -> pa.RecordBatch:
        # The parser drops a mark at the start of any text; here it is content.
        text = b"\n" + block if block[: len(_MARK)] == _MARK else block
        columns = list(dict.fromkeys(included))
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            pa_csv.ReadOptions(
                use_threads=False,
                block_size=len(text) + 1,
                column_names=list(names),
            ),
            self._parse_options,
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                include_columns=columns,
                null_values=[""],
                strings_can_be_null=self._options.empty == "null",
            ),
        )
        return table.combine_chunks().to_batches()[0]

    def _next_block(self, enough: int | None = None) -> bytes:
        """Whole records, as many as there are or are enough; `b""` at the end."""
        while not (end := self._grammar.complete(self._rest, enough)):
            if self._ended:
                if self._rest and self._grammar.first(self._rest) is None:
                    reason = "the file ends within a quoted cell of the row that begins"
                    raise self._error(f"{reason} in line {self._line()}")
                end = len(self._rest)
                break
            if len(self._rest) > self._options.max_row_bytes:
                raise self._error(
                    f"the row that begins in line {self._line()} is longer than "
                    f"{self._options.max_row_bytes / _MIB:.3g} MiB (max_row_bytes); "
                    "is a quote left open?"
                )
            self._read_on()
        block, self._rest = self._rest[:end], self._rest[end:]
        return block

    def _read_on(self) -> None:
        if self._fault_ahead is not None:
            raise self._fault_ahead
        if self._broken:
            line = self._line() + count_lines(self._rest)
            reason = broken_text_reason(self._options.encoding, self._start)
            raise self._error(f"line {line}: {reason}")
        # As much again as there is: a long record is searched in linear time.
        size = max(_BLOCK_BYTES, len(self._rest))
        try:
            data = self._stream.read(size)
        except BrokenTextError as broken:
            data, self._broken = broken.good, True
        else:
            self._ended = not data
        self._start = self._start or data[:2]
        self._rest += data

    def _fault(self, block: bytes, names: Sequence[str]) -> SourceError:
        fault = self._grammar.fault(block, fields=len(names))
        if fault is None:
            return self._error(f"cannot be parsed as CSV after line {self._line()}")
        line = self._line() + fault.lines
        if fault.fields is None:
            reason = broken_text_reason(self._options.encoding, self._start)
        else:
            reason = (
                f"{fault.fields} columns where {len(names)} are expected "
                f"({there_are(names)})"
            )
        return self._error(f"line {line}: {reason}", rows=fault.records)

    def _line(self) -> int:
        """The line that what is left begins in, counted from 1.

        The file is read again: nobody else asks for what would take a third of the
        time that parsing does.
        """
        line, left, ended_with_cr = 1, self._passed_bytes, False
        with open_text(self._file, self._options.encoding) as stream:
            while left > 0:
                try:
                    data = stream.read(_BLOCK_BYTES)
                except BrokenTextError as broken:
                    data = broken.good
                if not data:
                    break
                data = data[:left]
                left -= len(data)
                line += count_lines(data) - (ended_with_cr and data.startswith(b"\n"))
                ended_with_cr = data.endswith(b"\r")
        return line

    def _error(self, reason: str, *, rows: int = 0) -> SourceError:
        return self._file.error(reason, row_index=self._row + rows)
