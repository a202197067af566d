"""Rows of a request's body as columns of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from sutro_stream.jobs.body import invalid_json
from sutro_stream.wire.api_error import invalid

PROMPT = "prompt"
"""Column of the rows of a standalone model."""

RENDERED = "(rendered prompt)"
"""Column of rows that came as text where a Function takes objects; null elsewhere."""

TEXT = pa.large_string()

_SHOWN_ROWS = 10
_READ_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_STRINGS = "this model takes strings"
_OBJECTS = "a Function takes objects, or strings as they are to be sent"
_KINDS = {b"{": "an object", b"[": "an array"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of the rows.

    Attributes:
        name: In the object, and of the column.
        is_required: Whether a row without the field is refused.
    """

    name: str
    is_required: bool


class Columns(Protocol):
    """Makes columns of rows, one piece of the array after the other."""

    @property
    def schema(self) -> pa.Schema:
        """Schema of what `take` returns."""

    def take(self, piece: bytes, *, first_row: int) -> pa.RecordBatch:
        """The rows of one piece.

        Args:
            piece: JSON array.
            first_row: Index of its first row.

        Raises:
            ApiError: 422 where a row is not of a kind that is taken; 400 where it
                is not valid JSON.
        """

    def finish(self) -> None:
        """Say what is wrong with rows that `take` let pass to see more of them.

        Raises:
            ApiError: 422, as `take`.
        """


def columns_of(fields: Sequence[Field] | None) -> Columns:
    """Columns for the prompts of a standalone model (`None`), or for fields."""
    return _PromptColumn() if fields is None else _FieldColumns(fields)


class _PromptColumn:
    """One column: strings as they are, null as "", other scalars as written."""

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(PROMPT, TEXT)])

    def take(self, piece: bytes, *, first_row: int) -> pa.RecordBatch:
        try:
            texts = msgspec.json.decode(piece, type=list[str])
        except _READ_ERRORS:
            texts = [
                _scalar(bytes(row), at, _STRINGS)
                for at, row in enumerate(_raw_rows(piece), first_row)
            ]
        return pa.record_batch([pa.array(texts, TEXT)], schema=self.schema)

    def finish(self) -> None:
        pass


class _FieldColumns:
    """A column for each field, and one for rows that came as text.

    A field that an object does not have is null in its column, one that is null
    is "". Objects and arrays in a field are kept as the JSON text they came as.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = tuple(fields)
        self._attributes = tuple(f"field_{at}" for at in range(len(fields)))
        self._texts = self._row_type(str | None | msgspec.UnsetType, msgspec.UNSET)
        self._raw = self._row_type(msgspec.Raw, msgspec.Raw())
        # Most rows are objects of strings: a type of its own reads them at once.
        self._usual = _decoder(self._texts)
        self._mixed = _decoder(self._raw)
        self._one_raw = msgspec.json.Decoder(self._raw)
        self._lacking: list[str] = []

    @property
    def schema(self) -> pa.Schema:
        names = [*(field.name for field in self._fields), RENDERED]
        return pa.schema([(name, TEXT) for name in names])

    def take(self, piece: bytes, *, first_row: int) -> pa.RecordBatch:
        try:
            rows = self._usual.decode(piece)
        except _READ_ERRORS:
            rows = self._unusual(piece, first_row)
        self._look_for_lacking(rows, first_row)
        columns = [
            pa.array([_cell(row, attribute) for row in rows], TEXT)
            for attribute in self._attributes
        ]
        rendered = [_rendered(row) for row in rows]
        return pa.record_batch([*columns, pa.array(rendered, TEXT)], schema=self.schema)

    def finish(self) -> None:
        if self._lacking:
            listed = "; ".join(self._lacking[:_SHOWN_ROWS])
            shown = len(self._lacking) >= _SHOWN_ROWS
            more = f" (the first {_SHOWN_ROWS} such rows)" if shown else ""
            raise invalid(f"inputs: required fields are missing: {listed}{more}")

    def _unusual(self, piece: bytes, first_row: int) -> list[Any]:
        """Rows as the usual decoder gives them, whatever they hold."""
        rows: list[Any]
        try:
            rows = self._mixed.decode(piece)
        except _READ_ERRORS:
            rows = [
                self._row(row, at) for at, row in enumerate(_raw_rows(piece), first_row)
            ]
        return [
            self._as_texts(row) if isinstance(row, self._raw) else row for row in rows
        ]

    def _row(self, raw: msgspec.Raw, at: int) -> Any:
        text = bytes(raw)
        if not text.startswith(b"{"):
            return _scalar(text, at, _OBJECTS)
        try:
            return self._one_raw.decode(text)
        except _READ_ERRORS as error:
            raise invalid_json(error) from None

    def _as_texts(self, row: Any) -> msgspec.Struct:
        try:
            return self._texts(
                *[_value(bytes(getattr(row, name))) for name in self._attributes]
            )
        except _READ_ERRORS as error:
            raise invalid_json(error) from None

    def _look_for_lacking(self, rows: Sequence[Any], first_row: int) -> None:
        required = [
            (attribute, field.name)
            for attribute, field in zip(self._attributes, self._fields, strict=True)
            if field.is_required
        ]
        for at, row in enumerate(rows, first_row):
            if not isinstance(row, self._texts):
                continue
            lacking = [
                repr(name)
                for attribute, name in required
                if getattr(row, attribute) is msgspec.UNSET
            ]
            if lacking:
                self._lacking.append(f"inputs[{at}] has no {', '.join(lacking)}")
                if len(self._lacking) == _SHOWN_ROWS:
                    self.finish()

    def _row_type(self, kind: Any, default: Any) -> type[msgspec.Struct]:
        members = [(attribute, kind, default) for attribute in self._attributes]
        names = [field.name for field in self._fields]
        return msgspec.defstruct(
            "Row",
            members,
            rename=dict(zip(self._attributes, names, strict=True)),
            gc=False,
        )


def _decoder(row: type[msgspec.Struct]) -> msgspec.json.Decoder[list[Any]]:
    kind: Any = list[row | str | None]  # type: ignore[valid-type]
    return msgspec.json.Decoder(kind)


def _raw_rows(piece: bytes) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(piece, type=list[msgspec.Raw])
    except _READ_ERRORS as error:
        raise invalid_json(error) from None


def _scalar(text: bytes, at: int, taken: str) -> str:
    """A string, number, boolean or null of the array as text.

    Args:
        text: Its JSON.
        at: Index of the row.
        taken: What there should be.

    Raises:
        ApiError: 422 for an object or an array.
    """
    kind = _KINDS.get(text[:1])
    if kind is not None:
        raise invalid(f"inputs[{at}]: {taken}, not {kind}")
    try:
        return _value(text) or ""
    except _READ_ERRORS as error:
        raise invalid_json(error) from None


def _value(text: bytes) -> Any:
    """A value's JSON as text; `None` for null, unset where there is nothing."""
    if not text:
        return msgspec.UNSET
    if text == b"null":
        return None
    if text.startswith(b'"'):
        if b"\\" in text:
            return msgspec.json.decode(text, type=str)
        return text[1:-1].decode()
    # All but its encoding was checked when the row was found.
    return text.decode()


def _cell(row: Any, attribute: str) -> str | None:
    if row is None or isinstance(row, str):
        return None
    value = getattr(row, attribute)
    if value is msgspec.UNSET:
        return None
    return "" if value is None else value


def _rendered(row: Any) -> str | None:
    if row is None:
        return ""
    return row if isinstance(row, str) else None
