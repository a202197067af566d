"""A small instance of a JSON Schema, for answers that must satisfy one."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_DEEPEST = 32
_BOUNDS = {
    "minimum": operator.ge,
    "exclusiveMinimum": operator.gt,
    "maximum": operator.le,
    "exclusiveMaximum": operator.lt,
}


def minimal_instance(schema: Schema) -> object:
    """A small valid instance: required properties only, least numbers, short texts.

    Pure. Knows the keywords that structured outputs use; not `pattern`, `not`,
    `if`, nor `format`.

    Raises:
        ValueError: The schema refers to something it does not hold, has an unknown
            type, or requires itself without end.
    """
    return _instance(schema, root=schema, depth=0)


def _instance(schema: object, *, root: Schema, depth: int) -> object:
    if depth > _DEEPEST:
        message = "the schema requires itself without end"
        raise ValueError(message)
    if not isinstance(schema, Mapping):
        return None
    schema = _resolved(schema, root=root)
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    if "enum" in schema:
        return schema["enum"][0]
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return _first_instance(schema[keyword], root=root, depth=depth)
    return _instance_of_type(_type_of(schema), schema, root=root, depth=depth)


def _resolved(schema: Schema, *, root: Schema) -> Schema:
    """The schema with its reference followed and its `allOf` folded in."""
    followed = 0
    while "$ref" in schema:
        followed += 1
        if followed > _DEEPEST:
            message = "the schema refers to itself without end"
            raise ValueError(message)
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**_referred(schema["$ref"], root=root), **rest}
    merged: dict[str, Any] = dict(schema)
    for part in merged.pop("allOf", ()):
        merged = _merged(merged, _resolved(part, root=root))
    return merged


def _referred(reference: str, *, root: Schema) -> Schema:
    target: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            name = step.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, Mapping) else None
    if not reference.startswith("#") or not isinstance(target, Mapping):
        message = f"cannot resolve $ref {reference!r}"
        raise ValueError(message)
    return target


def _merged(one: Schema, other: Schema) -> dict[str, Any]:
    properties = {**one.get("properties", {}), **other.get("properties", {})}
    required = [*one.get("required", ()), *other.get("required", ())]
    return {**one, **other, "properties": properties, "required": required}


def _first_instance(branches: list[Any], *, root: Schema, depth: int) -> object:
    """An instance of the first branch that has one."""
    error = ValueError("the schema offers no branch")
    for branch in branches:
        try:
            return _instance(branch, root=root, depth=depth + 1)
        except ValueError as cause:
            error = cause
    raise error


def _type_of(schema: Schema) -> str:
    declared = schema.get("type")
    if isinstance(declared, list):
        return str(declared[0])
    if declared is None:
        return "object" if schema.get("properties") else "null"
    return str(declared)


def _instance_of_type(name: str, schema: Schema, *, root: Schema, depth: int) -> object:
    match name:
        case "object":
            properties = schema.get("properties", {})
            return {
                key: _instance(properties.get(key), root=root, depth=depth + 1)
                for key in schema.get("required", ())
            }
        case "array":
            return _array(schema, root=root, depth=depth)
        case "string":
            return "x" * schema.get("minLength", 0)
        case "integer" | "number":
            return _number(schema, whole=name == "integer")
        case "boolean":
            return False
        case "null":
            return None
    message = f"unknown type {name!r} in the schema"
    raise ValueError(message)


def _array(schema: Schema, *, root: Schema, depth: int) -> list[object]:
    heads = schema.get("prefixItems", [])
    count = schema.get("minItems", 0)
    items = [*heads[:count], *[schema.get("items")] * max(0, count - len(heads))]
    return [_instance(item, root=root, depth=depth + 1) for item in items]


def _number(schema: Schema, *, whole: bool) -> float:
    """Zero where it is allowed, else a number at or next to a bound."""
    step = schema.get("multipleOf", 1 if whole else None)
    for candidate in _candidates(schema, step=step):
        if _fits(candidate, schema):
            return candidate
    message = "no number fits the schema"
    raise ValueError(message)


def _candidates(schema: Schema, *, step: float | None) -> Iterator[float]:
    bounds = [schema[keyword] for keyword in _BOUNDS if keyword in schema]
    yield 0
    for bound in bounds:
        start = bound if step is None else math.floor(bound / step) * step
        for offset in (0, 1, -1):
            yield start + offset * (step or 1)
    if step is None and bounds:
        yield sum(bounds) / len(bounds)


def _fits(number: float, schema: Schema) -> bool:
    return all(
        holds(number, schema[keyword])
        for keyword, holds in _BOUNDS.items()
        if keyword in schema
    )
