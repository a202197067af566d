"""Where rows come from: the options of the input."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import click

from sutro_stream.cli.declared import AT_LEAST_ONE, Group, option

_INPUT = Group.INPUT
_ESCAPES = {r"\n": "\n", r"\t": "\t"}

OnBadRow = Literal["refuse", "skip", "stop"]
# Named here too, so that help does not import the formats.
FORMATS = ("parquet", "csv", "jsonl", "json")


def unescaped(text: str) -> str:
    r"""The text with `\n` and `\t` as the characters they stand for."""
    for written, meant in _ESCAPES.items():
        text = text.replace(written, meant)
    return text


def names_in(text: str) -> tuple[str, ...]:
    """Names of columns between commas; one with a comma in it stands in quotes."""
    return tuple(next(csv.reader([text], skipinitialspace=True), ()))


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """The input, and what becomes of what is not as it should be.

    The defaults stand for "not given".
    """

    inputs: tuple[str, ...] = ()
    format: str | None = option(
        _INPUT,
        "--format",
        type=click.Choice(FORMATS),
        help="Format of the input, where its name does not tell.",
    )
    limit: int | None = option(
        _INPUT,
        "--limit",
        type=AT_LEAST_ONE,
        metavar="N",
        help="Only the first N rows.",
    )
    on_bad_row: OnBadRow | None = option(
        _INPUT,
        "--on-bad-row",
        type=click.Choice(["refuse", "skip", "stop"]),
        help="A row that cannot be read keeps its place with an error, is left out, or "
        "ends the run.  [default: refuse]",
    )
    union: bool = option(
        _INPUT,
        "--union",
        default=False,
        help="Read files together whose columns differ: what one lacks is null.",
    )
    source_column: str | None = option(
        _INPUT,
        "--source-column",
        metavar="NAME",
        help="Add a column with the name of each row's file.",
    )
    delimiter: str | None = option(
        _INPUT,
        "--delimiter",
        metavar="CHARACTER",
        help=r"Between CSV cells.  [default: found; a tab in .tsv files]",
    )
    no_header: bool = option(
        _INPUT,
        "--no-header",
        default=False,
        help="The first CSV line is a row; columns are column_1, column_2, ...",
    )
    column_names: str | None = option(
        _INPUT,
        "--column-names",
        metavar="A,B,...",
        help="Names of the columns of CSV files without a header.",
    )
    skip_rows: int | None = option(
        _INPUT,
        "--skip-rows",
        type=AT_LEAST_ONE,
        metavar="N",
        help="Lines before the header of CSV files.",
    )
    comment: str | None = option(
        _INPUT,
        "--comment",
        metavar="TEXT",
        help="What CSV lines that are no rows begin with.",
    )
    quote_char: str | None = option(
        _INPUT,
        "--quote-char",
        metavar="CHARACTER",
        help='Around CSV cells; none for files without.  [default: "]',
    )
    escape_char: str | None = option(
        _INPUT,
        "--escape-char",
        metavar="CHARACTER",
        help=r"Before a quote that belongs to a CSV cell, as in \".  [default: none]",
    )
    encoding: str | None = option(
        _INPUT,
        "--encoding",
        help="Encoding of text files.  [default: utf-8, or what their first bytes say]",
    )
    encoding_errors: OnBadRow | None = option(
        _INPUT,
        "--encoding-errors",
        type=click.Choice(["refuse", "replace", "stop"]),
        help="A row with bytes that are no text is refused, has them replaced, or ends "
        "the run.  [default: refuse]",
    )
    empty: Literal["null", "empty"] | None = option(
        _INPUT,
        "--empty",
        type=click.Choice(["null", "empty"]),
        help="What an empty CSV cell is: no value, or empty text.  [default: null]",
    )

    @property
    def text_options(self) -> Mapping[str, Any]:
        """What is said of how text is written, by the names of `CsvOptions`."""
        quote = self.quote_char
        given = {
            "delimiter": None if self.delimiter in (None, "auto") else self.delimiter,
            "quote_char": quote,
            "escape_char": self.escape_char,
            "encoding": self.encoding,
            "encoding_errors": self.encoding_errors,
            "header": False if self.no_header else None,
            "skip_rows": self.skip_rows,
            "comment": self.comment,
            "empty": self.empty,
        }
        said: dict[str, Any] = {
            name: unescaped(value) if isinstance(value, str) else value
            for name, value in given.items()
            if value is not None
        }
        if quote is not None and quote.lower() in ("", "none"):
            said["quote_char"] = None
        if self.column_names is not None:
            said["column_names"] = names_in(self.column_names)
        return said
