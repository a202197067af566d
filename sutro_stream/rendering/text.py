"""Any Arrow column as text: casts where Arrow writes what Python's `str` writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.values.ascii import is_ascii

TEXT = pa.large_string()
"""64-bit offsets, so that a chunk of very long cells cannot overflow them."""

_MANY = 1e10
_FEW = 1e-4
_UNREADABLE = (ValueError, TypeError, OverflowError, LookupError)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FRACTIONS = {"ms": (r"(\.[0-9]{3})$", r"\1000"), "ns": (r"(\.[0-9]{6})000$", r"\1")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """A column as text.

    Attributes:
        values: Of type `TEXT`; null where there is no value, and where it cannot
            be written as text.
        unreadable: True at the latter, `None` when there are none.
    """

    values: pa.Array
    unreadable: pa.Array | None = None


def as_text(array: pa.Array) -> Texts:
    """Write every value as text; order and length are kept.

    Text stays as it is; null and NaN become null; booleans `true` and `false`;
    lists, structs and maps JSON; anything else what Python's `str` makes of it.
    Text and bytes that are not UTF-8 are unreadable.
    """
    for fits, write in _WRITERS:
        if fits(array.type):
            return write(array)
    return Texts(values=array.cast(TEXT))


def text_of(value: Any) -> str | None:
    """One Python value as `as_text` writes it; `None` when there is none.

    Raises:
        ValueError: Bytes are not UTF-8.
        TypeError: A list or mapping holds what JSON cannot.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (dict, list)):
        option = orjson.OPT_NON_STR_KEYS
        return orjson.dumps(value, default=_json_leaf, option=option).decode()
    return str(value)


def _json_leaf(value: Any) -> Any:
    # A decimal as a number keeps its digits, which a float would not.
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    return value.decode() if isinstance(value, bytes) else str(value)


def _strings(array: pa.Array) -> Texts:
    return _utf8(array.cast(TEXT))


def _bytes(array: pa.Array) -> Texts:
    return _utf8(array.cast(pa.large_binary()).view(TEXT))


def _dictionary(array: pa.Array) -> Texts:
    kind = array.type.value_type
    if not (_is_string(kind) or _is_bytes(kind)):
        return as_text(array.cast(kind))
    # A long text behind many rows must not overflow when it is spelled out.
    wide = array.dictionary.cast(TEXT if _is_string(kind) else pa.large_binary())
    return as_text(wide.take(array.indices))


def _runs(array: pa.Array) -> Texts:
    return as_text(pc.run_end_decode(array))


def _extension(array: pa.Array) -> Texts:
    if isinstance(array.type, (pa.UuidType, pa.Bool8Type)):
        return _each(array, text_of)
    return as_text(array.storage)


def _durations(array: pa.Array) -> Texts:
    per_second = _PER_SECOND[array.type.unit]
    return _each(array.cast(pa.int64()), lambda value: _duration(value, per_second))


def _times(array: pa.Array) -> Texts:
    return Texts(values=_fraction(array.cast(TEXT), array.type.unit))


def _values(array: pa.Array) -> Texts:
    return _each(array, text_of)


def _is_string(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _utf8(values: pa.Array) -> Texts:
    if is_ascii(values):
        return Texts(values=values)
    # Arrow does not check text that it reads from files or is handed by others.
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return _each(values.view(pa.large_binary()), text_of)
    return Texts(values=values)


def _each(array: pa.Array, convert: Callable[[Any], str | None]) -> Texts:
    """Value by value, for what Arrow cannot cast."""
    try:
        # Without the option, whole arrays are converted many times as fast.
        by_key = {"maps_as_pydicts": "strict"} if "map<" in str(array.type) else {}
        cells = array.to_pylist(**by_key)
        return Texts(values=pa.array([convert(cell) for cell in cells], TEXT))
    except _UNREADABLE:
        return _each_alone(array, convert)


def _each_alone(array: pa.Array, convert: Callable[[Any], str | None]) -> Texts:
    texts: list[str | None] = []
    unreadable: list[bool] = []
    for scalar in array:
        try:
            text, failed = convert(_as_py(scalar)), False
        except _UNREADABLE:
            text, failed = None, True
        texts.append(text)
        unreadable.append(failed)
    mask = pa.array(unreadable, pa.bool_()) if any(unreadable) else None
    return Texts(values=pa.array(texts, TEXT), unreadable=mask)


def _as_py(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py(maps_as_pydicts="strict")
    except KeyError:
        # A map with a key twice: only as pairs is nothing lost.
        return scalar.as_py()


def _floats(array: pa.Array) -> Texts:
    numbers = array.cast(pa.float64())
    # A float32 is written with its own digits: 0.1, not 0.10000000149011612.
    texts = (array if pa.types.is_float32(array.type) else numbers).cast(TEXT)
    size = pc.abs(numbers)
    whole = pc.equal(numbers, pc.floor(numbers))
    suffix = pc.if_else(whole, pa.scalar(".0", TEXT), pa.scalar("", TEXT))
    texts = pc.binary_join_element_wise(texts, suffix, pa.scalar("", TEXT))
    texts = pc.if_else(pc.is_nan(numbers), pa.scalar(None, TEXT), texts)
    # Outside these bounds Arrow and Python choose different notations.
    small = pc.and_(pc.less(size, _FEW), pc.greater(size, 0.0))
    other = pc.fill_null(pc.or_(small, pc.greater_equal(size, _MANY)), fill_value=False)
    if not pc.any(other).as_py():
        return Texts(values=texts)
    notations = (array if pa.types.is_float32(array.type) else numbers).filter(other)
    rewritten = [str(float(text)) for text in notations.cast(TEXT).to_pylist()]
    texts = pc.replace_with_mask(texts, other, pa.array(rewritten, TEXT))
    return Texts(values=texts)


def _timestamps(array: pa.Array) -> Texts:
    unit, zone = array.type.unit, array.type.tz
    if zone is None:
        return Texts(values=_fraction(array.cast(TEXT), unit))
    instants = array.view(pa.timestamp(unit))
    try:
        local = pc.local_timestamp(array)
    except pa.ArrowInvalid:
        # The machine does not know the zone; the same instant in UTC is exact.
        local = instants
    shifts = pc.subtract(local.view(pa.int64()), instants.view(pa.int64()))
    coded = shifts.dictionary_encode()
    seconds = [shift // _PER_SECOND[unit] for shift in coded.dictionary.to_pylist()]
    offsets = pa.array([_utc_offset(shift) for shift in seconds], TEXT)
    texts = pc.binary_join_element_wise(
        _fraction(local.cast(TEXT), unit),
        offsets.take(coded.indices),
        pa.scalar("", TEXT),
    )
    return Texts(values=texts)


def _utc_offset(shift_s: int) -> str:
    minutes, seconds = divmod(abs(shift_s), 60)
    text = f"{'-' if shift_s < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{seconds:02}" if seconds else text


def _fraction(texts: pa.Array, unit: str) -> pa.Array:
    """Fractions of a second as Python writes them: none, or six digits."""
    if unit == "s":
        return texts
    texts = pc.replace_substring_regex(texts, r"\.0+$", "")
    if unit not in _FRACTIONS:
        return texts
    pattern, replacement = _FRACTIONS[unit]
    return pc.replace_substring_regex(texts, pattern, replacement)


def _duration(value: int | None, per_second: int) -> str | None:
    if value is None:
        return None
    seconds, fraction = divmod(value, per_second)
    days, rest = divmod(seconds, 86_400)
    text = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    if fraction:
        digits = f"{fraction * (10**9 // per_second):09}"
        text += "." + digits.removesuffix("000")
    if days:
        text = f"{days} day{'' if abs(days) == 1 else 's'}, {text}"
    return text


def _is_extension(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType)


_WRITERS: Sequence[
    tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Texts]]
] = (
    (_is_string, _strings),
    (_is_extension, _extension),
    (pa.types.is_floating, _floats),
    (pa.types.is_dictionary, _dictionary),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_time, _times),
    (pa.types.is_duration, _durations),
    (pa.types.is_nested, _values),
    (pa.types.is_interval, _values),
    (_is_bytes, _bytes),
    (pa.types.is_run_end_encoded, _runs),
)
"""By type, the first that fits; Arrow's own cast serves the others."""
