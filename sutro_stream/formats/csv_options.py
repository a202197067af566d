"""How text with rows in it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.text_stream import is_text_encoding

_LARGEST_ROW_LIMIT_BYTES = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvOptions:
    """How CSV text is written; what is not about cells holds for all text formats.

    Attributes:
        delimiter: One ASCII character between cells. `None` takes a tab for names with
            `.tsv` or `.tab` in their suffixes, `|` for `.psv`, and else a comma; where
            a comma gives the header a single column, another one that header and all
            records agree on, and says so.
        quote_char: One ASCII character around cells, doubled within them; `None`
            when the files know no quotes.
        escape_char: One ASCII character that takes the meaning from the one behind
            it; `None` for none.
        encoding: Python's name of the text encoding; a byte order mark of UTF-16 in
            the file wins over the usual one.
        encoding_errors: What becomes of a row with bytes that are no text: it is
            refused, the bytes are replaced, or the reading stops.
        header: Whether the first line has the names of the columns; without, they
            are `column_1`, `column_2`, ... unless `column_names` are given.
        column_names: Names of the columns, for files without a header line.
        skip_rows: Lines before the header, or before the first row, that are none.
        comment: What lines that are no rows begin with; `None` for none.
        empty: What an empty cell is, quoted or not: a missing value or "".
        max_row_bytes: Most bytes of one row; reading takes about seven times as much
            memory for a moment.
    """

    delimiter: str | None = None
    quote_char: str | None = '"'
    encoding: str = "utf-8"
    column_names: Sequence[str] | None = None
    empty: Literal["null", "empty"] = "null"
    max_row_bytes: int = 64 << 20
    escape_char: str | None = None
    encoding_errors: Literal["refuse", "replace", "stop"] = "refuse"
    header: bool = True
    skip_rows: int = 0
    comment: str | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: A value is not one of those described.
        """
        self._check_characters()
        if not is_text_encoding(self.encoding):
            message = f"encoding: Python knows no text encoding {self.encoding!r}"
            raise ConfigurationError(message)
        if self.column_names is not None and not self.column_names:
            raise ConfigurationError("column_names must name at least one column")
        if self.skip_rows < 0:
            raise ConfigurationError("skip_rows must be 0 or more")
        if self.comment is not None and not (
            self.comment.isascii() and self.comment.strip("\r\n")
        ):
            raise ConfigurationError("comment must be ASCII characters")
        _check_choice("empty", self.empty, ("null", "empty"))
        errors = ("refuse", "replace", "stop")
        _check_choice("encoding_errors", self.encoding_errors, errors)
        if not 1 <= self.max_row_bytes <= _LARGEST_ROW_LIMIT_BYTES:
            message = f"max_row_bytes must be 1 to {_LARGEST_ROW_LIMIT_BYTES}"
            raise ConfigurationError(message)

    def _check_characters(self) -> None:
        given = {
            "delimiter": self.delimiter,
            "quote_char": self.quote_char,
            "escape_char": self.escape_char,
        }
        for name, value in given.items():
            if value is not None and not (
                len(value) == 1 and value.isascii() and value not in "\r\n\0"
            ):
                message = f"{name} must be one ASCII character, not {value!r}"
                raise ConfigurationError(message)
        chosen = [value for value in given.values() if value is not None]
        if len(set(chosen)) < len(chosen):
            message = "delimiter, quote_char and escape_char must differ"
            raise ConfigurationError(message)

    @property
    def reading(self) -> str:
        """What of it changes which rows a file holds, for a digest.

        Ledgers of the time before the later options existed go on: these count only
        where they are not the usual ones.
        """
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return f"CsvOptions({', '.join(_counting(named))})"


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        choices = " or ".join(map(repr, known))
        raise ConfigurationError(f"{name} must be {choices}, not {value!r}")


_SINCE_EVER = frozenset(
    {
        "delimiter",
        "quote_char",
        "encoding",
        "column_names",
        "empty",
        "max_row_bytes",
    }
)


def _counting(named: Mapping[str, Any]) -> list[str]:
    usual = {each.name: each.default for each in fields(CsvOptions)}
    return [
        f"{name}={value!r}"
        for name, value in named.items()
        if name in _SINCE_EVER or value != usual[name]
    ]
