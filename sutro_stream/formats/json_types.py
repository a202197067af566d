"""What columns the values of JSON make, which may be others in every row.

A type here is an Arrow type. Of whole and other numbers together floating-point ones
are made; of what else differs, and of what has no type that holds it, text: `MIXED`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pyarrow as pa

MIXED = pa.large_string()
"""Text, because values differ; those that are none are written as JSON."""

_LEAST, _MOST = -(2**63), 2**63 - 1
# An object with more names, all rows together, is one whose names are data.
_MOST_NAMES = 200
_DEEPEST = 16
_LONE = re.compile("[\ud800-\udfff]")
_WHOLE: Any = Annotated[int, msgspec.Meta(ge=_LEAST, le=_MOST)]


class MisfitError(Exception):
    """A value is not of the type of its column."""


def type_of(value: Any, depth: int = 0) -> pa.DataType:
    """The type that holds a value."""
    if value is None:
        return pa.null()
    if isinstance(value, str):
        return pa.string()
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64() if _LEAST <= value <= _MOST else MIXED
    if isinstance(value, float):
        return pa.float64()
    if depth >= _DEEPEST or (isinstance(value, dict) and len(value) > _MOST_NAMES):
        return MIXED
    if isinstance(value, dict):
        return pa.struct(
            [(key, type_of(each, depth + 1)) for key, each in value.items()]
        )
    element = pa.null()
    for each in value:
        element = together(element, type_of(each, depth + 1))
    return pa.list_(element)


def together(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that holds the values of both."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(together(one.value_type, other.value_type))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        types = {each.name: each.type for each in one}
        for each in other:
            types[each.name] = together(types.get(each.name, pa.null()), each.type)
        return pa.struct(list(types.items())) if len(types) <= _MOST_NAMES else MIXED
    numbers = {pa.int64(), pa.float64()}
    return pa.float64() if {one, other} == numbers else MIXED


def settled(kind: pa.DataType) -> pa.DataType:
    """The type of a column when all values were seen: some formats hold no `{}`."""
    if pa.types.is_list(kind):
        return pa.list_(settled(kind.value_type))
    if pa.types.is_struct(kind):
        fields = [(each.name, settled(each.type)) for each in kind]
        return pa.struct(fields) if fields else MIXED
    return kind


def plain_text(kind: pa.DataType) -> pa.DataType:
    """The same type for those who need not know why a text is one."""
    if kind == MIXED:
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(plain_text(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(each.name, plain_text(each.type)) for each in kind])
    return kind


def expected(kind: pa.DataType) -> Any:
    """What `msgspec` is told to expect, so that nothing else of a value passes."""
    if kind == MIXED:
        return Any
    if pa.types.is_null(kind):
        return None
    if pa.types.is_list(kind):
        return list[expected(kind.value_type)] | None  # type: ignore[misc]
    if pa.types.is_struct(kind):
        return record({each.name: each.type for each in kind}, is_all=True) | None
    scalars: dict[pa.DataType, Any] = {
        pa.string(): str,
        pa.bool_(): bool,
        pa.int64(): _WHOLE,
        pa.float64(): float,
    }
    return scalars[kind] | None


def record(types: dict[str, pa.DataType], *, is_all: bool) -> Any:
    """A class of objects with these members, called `m0`, `m1`, ...

    Args:
        types: By name.
        is_all: Whether an object with others is none. Otherwise arrays and objects in
            it are what they are.
    """
    kinds = [
        expected(kind) if is_all or not pa.types.is_nested(kind) else Any
        for kind in types.values()
    ]
    return msgspec.defstruct(
        "Record",
        [(f"m{at}", kind, None) for at, kind in enumerate(kinds)],
        rename={f"m{at}": name for at, name in enumerate(types)},
        forbid_unknown_fields=is_all,
        gc=False,
    )


def fitting(kind: pa.DataType) -> Callable[[Any], Any]:
    """What makes of a value one that Arrow takes for the type.

    It raises `MisfitError` where there is none.
    """
    if kind == MIXED:
        return text_of
    if pa.types.is_list(kind):
        element = fitting(kind.value_type)
        return _of(list, lambda cells: [element(cell) for cell in cells])
    if pa.types.is_struct(kind):
        members = [(each.name, fitting(each.type)) for each in kind]
        return _of(
            dict,
            lambda cells: {name: member(cells.get(name)) for name, member in members},
        )
    if kind == pa.float64():
        return _of((int, float), _floating)
    if kind == pa.int64():
        return _of(int, _whole)
    return _of({pa.string(): str, pa.bool_(): bool}.get(kind, type(None)))


def text_of(value: Any) -> str | None:
    """A text itself, and anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def sound(value: Any) -> tuple[Any, bool]:
    """A value in which all text is text, and whether it was so before."""
    if isinstance(value, str):
        text = _LONE.sub("\ufffd", value)
        return text, text == value
    if isinstance(value, list):
        elements = [sound(each) for each in value]
        return [each for each, _ in elements], all(was for _, was in elements)
    if isinstance(value, dict):
        members = [(sound(key), sound(each)) for key, each in value.items()]
        whole = all(key[1] and each[1] for key, each in members)
        return {key[0]: each[0] for key, each in members}, whole
    return value, True


def _of(
    kinds: Any, change: Callable[[Any], Any] = lambda value: value
) -> Callable[[Any], Any]:
    def fitted(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, kinds) or (
            isinstance(value, bool) and kinds is not bool
        ):
            raise MisfitError
        return change(value)

    return fitted


def _floating(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise MisfitError from None


def _whole(value: int) -> int:
    if not _LEAST <= value <= _MOST:
        raise MisfitError
    return value
