"""Where records of CSV text begin and end: exactly as pyarrow's parser sees it.

A quote opens a quoted part only at the start of a field; in it, two quotes are one
and delimiters and line ends are content. Anywhere else a quote is an ordinary
character. Lines end with LF, CR LF or CR.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STEP_BYTES = 64 << 10
_LINES_TRIED = 1000
_QUOTED = rb"QUOTE[^QUOTE]*+(?:QUOTEQUOTE[^QUOTE]*+)*+QUOTE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first record of some text that is not as it should be.

    Attributes:
        lines: Line ends before it.
        records: Records before it.
        fields: Fields it has, `None` when its text is not UTF-8.
    """

    lines: int
    records: int
    fields: int | None


@dataclass(frozen=True, slots=True)
class Grammar:
    """Patterns for one pair of delimiter and quote character.

    All repetitions are possessive: time is linear and nothing is captured. Text
    given to the methods begins where a record begins.
    """

    delimiter: bytes
    quote: bytes
    _records: re.Pattern[bytes]
    _record: re.Pattern[bytes]
    _quoted: re.Pattern[bytes] | None

    @classmethod
    def of(cls, delimiter: str, quote_char: str | None) -> Grammar:
        """Compile the patterns for ASCII characters."""
        separator = delimiter.encode()
        # Not after CR at the end of what is there: LF may follow.
        end = rb"(?:\r?\n|\r(?=[^\n]))"
        if quote_char is None:
            return cls(
                separator,
                b"",
                re.compile(rb"(?s:.*)" + end),
                re.compile(rb"[^\r\n]*+(?:\r?\n|\r|\Z)"),
                None,
            )
        parts = {
            b"QUOTE": re.escape(quote_char.encode()),
            b"EDGE": re.escape(separator) + rb"\r\n",
            b"END": end,
        }
        quoted = rb"(?<![^EDGE])" + _QUOTED
        more = rb"(?:" + re.escape(separator) + _QUOTED + rb")*+"
        content = rb"(?:" + quoted + more + rb"|[^QUOTE\r\n]++|(?<=[^EDGE])QUOTE)"
        # Records without quotes are skipped in one go.
        many = rb"(?:[^QUOTE]*END|" + content + rb"++END)*+"
        return cls(
            separator,
            quote_char.encode(),
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

    def fields(self, record: bytes) -> int:
        """Number of fields of one record."""
        bare = self._quoted.sub(b"", record) if self._quoted else record
        return bare.count(self.delimiter) + 1

    def fault(self, text: bytes, *, fields: int) -> Fault | None:
        """The first record without `fields` fields or not UTF-8, if there is one."""
        lines = records = 0
        for record in self.records(text):
            if not is_blank(record):
                try:
                    record.decode()
                except UnicodeDecodeError as error:
                    lines += count_lines(record[: error.start])
                    return Fault(lines=lines, records=records, fields=None)
                if (actual := self.fields(record)) != fields:
                    return Fault(lines=lines, records=records, fields=actual)
                records += 1
            lines += count_lines(record)
        return None


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
