"""Where records of CSV text begin and end: exactly as pyarrow's parser sees it.

A quote opens a quoted part only at the start of a field; in it, two quotes are one
and delimiters and line ends are content. Anywhere else a quote is an ordinary
character. Lines end with LF, CR LF or CR.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pa_csv

_MARK = b"\xef\xbb\xbf"
_STEP_BYTES = 64 << 10
_LINES_TRIED = 1000
_QUOTED = rb"QUOTE[^QUOTE]*+(?:QUOTEQUOTE[^QUOTE]*+)*+QUOTE"
_ESCAPED = rb"QUOTE(?:[^QUOTEESCAPE]++|ESCAPE(?s:.)|QUOTEQUOTE)*+QUOTE"


@dataclass(frozen=True, slots=True)
class Grammar:
    """Patterns for one pair of delimiter and quote character.

    All repetitions are possessive: time is linear and nothing is captured. Text
    given to the methods begins where a record begins.
    """

    delimiter: bytes
    quote: bytes
    escape: bytes
    _records: re.Pattern[bytes]
    _record: re.Pattern[bytes]
    _quoted: re.Pattern[bytes] | None

    @classmethod
    def of(
        cls, delimiter: str, quote_char: str | None, escape_char: str | None = None
    ) -> Grammar:
        """Compile the patterns for ASCII characters."""
        separator = delimiter.encode()
        quote = (quote_char or "").encode()
        escape = (escape_char or "").encode()
        parts = {
            b"QUOTED": _QUOTED if escape_char is None else _ESCAPED,
            b"QUOTE": re.escape(quote),
            b"ESCAPE": re.escape(escape),
            b"SEPARATOR": re.escape(separator),
            b"EDGE": re.escape(separator) + rb"\r\n",
            # Not after CR at the end of what is there: LF may follow.
            b"END": rb"(?:\r?\n|\r(?=[^\n]))",
        }
        if not quote and escape_char is None:
            return cls(
                separator,
                b"",
                b"",
                re.compile(_filled(rb"(?s:.*)END", parts)),
                re.compile(rb"[^\r\n]*+(?:\r?\n|\r|\Z)"),
                None,
            )
        plain = rb"[^QUOTE\r\n]++" if escape_char is None else rb"[^QUOTEESCAPE\r\n]++"
        choices = [plain]
        quoted = rb""
        if quote:
            quoted = rb"(?<![^EDGE])QUOTED"
            choices.insert(0, quoted + rb"(?:SEPARATORQUOTED)*+")
            choices.append(rb"(?<=[^EDGE])QUOTE")
        if escape_char is not None:
            choices.append(rb"ESCAPE(?s:.)")
            quoted = quoted + rb"|ESCAPE(?s:.)" if quoted else rb"ESCAPE(?s:.)"
        content = rb"(?:" + rb"|".join(choices) + rb")"
        many = rb"(?:" + content + rb"*+END)*+"
        if escape_char is None:
            # Records without quotes are skipped in one go.
            many = rb"(?:[^QUOTE]*END|" + content + rb"++END)*+"
        return cls(
            separator,
            quote,
            escape,
            re.compile(_filled(many, parts)),
            re.compile(_filled(content + rb"*+(?:\r?\n|\r|\Z)", parts)),
            re.compile(_filled(quoted, parts)),
        )

    def complete(self, text: bytes, enough: int | None = None) -> int:
        """Bytes of the records at the start of `text` that are surely complete.

        The search goes in steps: the interpreter's lock is held during each.

        Args:
            text: Begins where a record does.
            enough: Bytes behind which no more are looked for, `None` for all.
        """
        enough = len(text) if enough is None else enough
        end, step = 0, _STEP_BYTES
        while True:
            match = self._records.match(text, end, end + step)
            found = match.end() if match else end
            if found > end:
                end, step = found, _STEP_BYTES
                if end >= enough:
                    return end
            elif end + step >= len(text):
                return end
            else:
                step *= 2

    def last_line(self, text: bytes) -> int:
        """Bytes up to the last LF: where no cell holds one, those of whole records."""
        return text.rfind(b"\n") + 1

    def last_even_line(self, text: bytes) -> int:
        """Bytes up to the last LF behind an even number of quotes.

        Those of whole records, where quotes stand around cells only, or doubled. 0
        where there is no such line among the last thousand.
        """
        end = text.rfind(b"\n") + 1
        if not self.quote:
            return end
        is_odd = text.count(self.quote, 0, end) % 2
        for _ in range(_LINES_TRIED):
            if not (is_odd and end):
                return end
            start = text.rfind(b"\n", 0, end - 1) + 1
            is_odd ^= text.count(self.quote, start, end) % 2
            end = start
        return 0

    def first(self, text: bytes) -> bytes | None:
        """The first record with its line end, `None` when a quote stays open.

        The end of `text` ends a record too.
        """
        match = self._record.match(text)
        return match.group() if match else None

    def records(self, text: bytes) -> Iterator[bytes]:
        """Records with their line ends, until the end or a quote left open."""
        at = 0
        while at < len(text) and (match := self._record.match(text, at)):
            yield match.group()
            at = match.end()

    def read(
        self,
        text: bytes | memoryview,
        names: Sequence[str],
        included: Sequence[str] | None = None,
        *,
        empty_is_null: bool = True,
    ) -> pa.RecordBatch:
        """Whole records, parsed; cells that are no UTF-8 are passed on.

        Args:
            text: Not only blank lines.
            names: Of all fields, each once.
            included: Those wanted, `None` for all; at least one.
            empty_is_null: What an empty cell is.

        Raises:
            ArrowInvalid: A record has another number of fields.
        """
        # The parser drops a mark at the start of any text; here it is content.
        marked = b"\n" + text if text[: len(_MARK)] == _MARK else text
        columns = list(dict.fromkeys(names if included is None else included))
        table = pa_csv.read_csv(
            pa.BufferReader(marked),
            pa_csv.ReadOptions(
                use_threads=False,
                block_size=len(marked) + 1,
                column_names=list(names),
            ),
            pa_csv.ParseOptions(
                delimiter=self.delimiter.decode(),
                quote_char=self.quote.decode() or False,
                escape_char=self.escape.decode() or False,
                newlines_in_values=True,
            ),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                include_columns=columns,
                null_values=[""],
                strings_can_be_null=empty_is_null,
                check_utf8=False,
            ),
        )
        return table.combine_chunks().to_batches()[0]

    def fields(self, record: bytes) -> int:
        """Number of fields of one record."""
        bare = self._quoted.sub(b"", record) if self._quoted else record
        return bare.count(self.delimiter) + 1


def _filled(pattern: bytes, parts: dict[bytes, bytes]) -> bytes:
    for name, part in parts.items():
        pattern = pattern.replace(name, part)
    return pattern


def is_blank(text: bytes) -> bool:
    """Whether there is nothing but line ends."""
    return text.isspace() and not text.strip(b"\r\n")


def count_lines(text: bytes) -> int:
    """Line ends in `text`."""
    lines = text.count(b"\n")
    if b"\r" in text:
        lines += text.count(b"\r") - text.count(b"\r\n")
    return lines
