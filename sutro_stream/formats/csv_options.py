"""How CSV text is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.text_stream import is_text_encoding

_LARGEST_ROW_LIMIT_BYTES = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvOptions:
    """How CSV text is written.

    Attributes:
        delimiter: One ASCII character between cells; `None` takes a tab for names
            with `.tsv` in their suffixes and a comma for others.
        quote_char: One ASCII character around cells, doubled within them; `None`
            when the files know no quotes.
        encoding: Python's name of the text encoding.
        column_names: Names of the columns of files without a header line; `None`
            reads them from the first line.
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

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: A value is not one of those described.
        """
        given = {"delimiter": self.delimiter, "quote_char": self.quote_char}
        for name, value in given.items():
            if value is not None and not (
                len(value) == 1 and value.isascii() and value not in "\r\n\0"
            ):
                message = f"{name} must be one ASCII character, not {value!r}"
                raise ConfigurationError(message)
        if self.delimiter is not None and self.delimiter == self.quote_char:
            message = "delimiter and quote_char must differ"
            raise ConfigurationError(message)
        if not is_text_encoding(self.encoding):
            message = f"encoding: Python knows no text encoding {self.encoding!r}"
            raise ConfigurationError(message)
        if self.column_names is not None and not self.column_names:
            raise ConfigurationError("column_names must name at least one column")
        if self.empty not in ("null", "empty"):
            message = f"empty must be 'null' or 'empty', not {self.empty!r}"
            raise ConfigurationError(message)
        if not 1 <= self.max_row_bytes <= _LARGEST_ROW_LIMIT_BYTES:
            message = f"max_row_bytes must be 1 to {_LARGEST_ROW_LIMIT_BYTES}"
            raise ConfigurationError(message)
