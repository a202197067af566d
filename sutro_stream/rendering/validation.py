"""Columns against the declared inputs of a Function; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.rendering.text import TEXT, as_text
from sutro_stream.values.function import InputType

_PATTERNS: Mapping[InputType, str] = {
    InputType.INTEGER: r"^\s*[+-]?[0-9]+(\.0*)?\s*$",
    InputType.NUMBER: r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$",
    InputType.BOOLEAN: r"^\s*(?i:true|false)\s*$",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A column as text, held against its declared type.

    Attributes:
        texts: Of type `TEXT`, as in the input; null or "" where `missing`, and of
            no meaning where `wrong`.
        wrong: True where a value does not read as the type, `None` for nowhere.
        missing: True where there is no value, `None` for nowhere. Empty text is a
            value for the type `text` only.
    """

    texts: pa.Array
    wrong: pa.Array | None
    missing: pa.Array | None


def check(column: pa.Array, declared: InputType) -> Checked:
    """Write a column as text and hold every value against the declared type."""
    texts = as_text(column)
    values = texts.values
    if declared is InputType.TEXT:
        missing = values.is_null() if values.null_count else None
        wrong = None
    else:
        missing = pc.fill_null(pc.equal(values, pa.scalar("", TEXT)), fill_value=True)
        wrong = _mismatches(column.type, values, declared)
        if wrong is not None:
            wrong = pc.and_not(wrong, missing)
    if texts.unreadable is not None:
        wrong = texts.unreadable if wrong is None else pc.or_(wrong, texts.unreadable)
        missing = None if missing is None else pc.and_not(missing, texts.unreadable)
    return Checked(texts=values, wrong=_where(wrong), missing=_where(missing))


def _mismatches(
    kind: pa.DataType, texts: pa.Array, declared: InputType
) -> pa.Array | None:
    """Where a value does not read as the type, as far as there is a value."""
    if declared is InputType.JSON:
        if pa.types.is_nested(kind) and not pa.types.is_union(kind):
            return None
        return pa.array([not _is_json(text) for text in texts.to_pylist()], pa.bool_())
    if declared is InputType.BOOLEAN:
        fits = pa.types.is_boolean(kind)
    else:
        fits = pa.types.is_integer(kind)
    if fits:
        return None
    matches = pc.match_substring_regex(texts, _PATTERNS[declared])
    return pc.fill_null(pc.invert(matches), fill_value=False)


def _is_json(text: str | None) -> bool:
    if text is None:
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _where(mask: pa.Array | None) -> pa.Array | None:
    return mask if mask is not None and pc.any(mask).as_py() else None
