"""The JSON Schema of an answer: checked on our side, and typed for tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs
import orjson
import pyarrow as pa

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.schema_cost import SchemaCost, cost_of

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_SCALARS: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}
_JSON_TYPE_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number"}
_LISTED_TYPES: Mapping[str, Sequence[Any]] = {"boolean": (True, False), "null": (None,)}
_MAX_REFERENCES = 32
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputField:
    """One top-level property of an answer, as a table column.

    Attributes:
        name: Property and column name.
        type: Arrow type; what is neither scalar nor a list of scalars is JSON text.
        encode: From the parsed JSON value, never null, to the column's value.
    """

    name: str
    type: pa.DataType
    encode: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """A compiled JSON Schema.

    Attributes:
        definition: The schema as given.
        fields: Its top-level properties; empty when answers are not objects.
    """

    definition: Mapping[str, Any]
    fields: tuple[OutputField, ...] = field(compare=False)
    _integers: tuple[str, ...] = field(compare=False, repr=False)
    _validator: Any = field(compare=False, repr=False)
    _cost: SchemaCost = field(compare=False, repr=False)

    @classmethod
    def parse(
        cls, definition: Mapping[str, Any], *, what: str = "output_schema"
    ) -> OutputSchema:
        """Compile a schema; references must stay inside it.

        Raises:
            ConfigurationError: It is not a valid JSON Schema, or one that takes too
                long to check an answer with.
        """
        definition = dict(definition)
        try:
            validator = jsonschema_rs.validator_for(definition, offline=True)
        except (ValueError, TypeError, jsonschema_rs.ReferencingError) as error:
            reason = str(error).splitlines()[0][:_LONGEST_REASON]
            path = getattr(error, "instance_path", ())
            place = ".".join([what, *(str(part) for part in path)])
            message = f"{place} is not a valid JSON Schema: {reason}"
            raise ConfigurationError(message) from None
        try:
            cost = cost_of(definition)
        except ConfigurationError as error:
            raise ConfigurationError(f"{what}: {error}") from None
        fields = _output_fields(definition)
        integers = tuple(field.name for field in fields if field.type == pa.int64())
        return cls(definition, fields, integers, validator, cost)

    def check(self, text: str) -> tuple[Any, str | None, str | None]:
        """Parse an answer and hold it against the schema.

        Returns:
            The parsed value, why it does not conform (`None` when it does), and
            the top-level property concerned (`None` when it is the whole).
        """
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return None, f"not valid JSON: {error.msg} at character {error.pos}", None
        if not self._cost.may_be_checked(text, value):
            return None, "too deep or too long to be checked with its schema", None
        if self._validator.is_valid(value):
            name = self._unrepresentable(value)
            if name is None:
                return value, None, None
            return None, f"{name}: the integer does not fit 64 bits", name
        if not self._cost.may_be_told(text, value):
            return None, "the answer does not conform to the schema", None
        return None, *self._violation(value)

    def allowed_values(self, name: str) -> tuple[Any, ...] | None:
        """The values that a top-level property may have.

        Returns:
            JSON values, each once; `None` where they are not listed in the schema, or
            there is no such property.
        """
        properties = _resolve(self.definition, self.definition).get("properties")
        if not isinstance(properties, dict) or name not in properties:
            return None
        return _listed_values(_resolve(properties[name], self.definition), self)

    def _violation(self, value: Any) -> tuple[str, str | None]:
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as violation:
            path = [str(part) for part in violation.instance_path]
            at = violation.schema_path
            keyword = str(at[-1]) if at else "schema"
            place = ".".join(path) or "the answer"
            reason = f"{place} does not conform to the schema ({keyword})"
            return reason, path[0] if path and isinstance(value, dict) else None
        raise AssertionError

    def _unrepresentable(self, value: Any) -> str | None:
        if self._integers and isinstance(value, dict):
            for name in self._integers:
                number = value.get(name)
                if number is not None and not _INT64_MIN <= number <= _INT64_MAX:
                    return name
        return None


def _output_fields(definition: Mapping[str, Any]) -> tuple[OutputField, ...]:
    resolved = _resolve(definition, definition)
    properties = resolved.get("properties")
    if resolved.get("type", "object") != "object" or not isinstance(properties, dict):
        return ()
    return tuple(
        _output_field(name, _resolve(schema, definition), definition)
        for name, schema in properties.items()
    )


def _output_field(
    name: str, schema: Mapping[str, Any], root: Mapping[str, Any]
) -> OutputField:
    kind = _kind(schema, root)
    if kind is not None and kind in _SCALARS:
        return OutputField(name=name, type=_SCALARS[kind], encode=_ENCODERS[kind])
    items = schema.get("items")
    if kind == "array" and isinstance(items, dict):
        item_kind = _kind(_resolve(items, root), root, nullable=False)
        if item_kind in _SCALARS and item_kind is not None and item_kind != "integer":
            encode = _ENCODERS[item_kind]
            return OutputField(
                name=name,
                type=pa.list_(_SCALARS[item_kind]),
                encode=lambda values: [encode(value) for value in values],
            )
    return OutputField(name=name, type=pa.string(), encode=_json_text)


def _kind(
    schema: Mapping[str, Any], root: Mapping[str, Any], *, nullable: bool = True
) -> str | None:
    """The one JSON type besides null that the schema allows, `None` for several."""
    kinds: set[str | None] = set()
    for variant in _variants(schema, root):
        declared = variant.get("type")
        if isinstance(declared, str):
            kinds.add(declared)
        elif isinstance(declared, list):
            kinds.update(declared)
        elif isinstance(values := _constants(variant), list):
            kinds.update(_constant_kind(value) for value in values)
        else:
            kinds.add(None)
    if nullable:
        kinds.discard("null")
    if kinds == {"integer", "number"}:
        return "number"
    return kinds.pop() if len(kinds) == 1 else None


def _variants(
    schema: Mapping[str, Any], root: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    for keyword in ("anyOf", "oneOf"):
        options = schema.get(keyword)
        if isinstance(options, list) and "type" not in schema:
            return [_resolve(option, root) for option in options]
    return [schema]


def _listed_values(
    schema: Mapping[str, Any], whole: OutputSchema
) -> tuple[Any, ...] | None:
    found: dict[str, Any] = {}
    for variant in _variants(schema, whole.definition):
        values = _constants(variant)
        if values is None:
            kinds = variant.get("type")
            kinds = kinds if isinstance(kinds, list) else [kinds]
            if not all(kind in _LISTED_TYPES for kind in kinds):
                return None
            values = [value for kind in kinds for value in _LISTED_TYPES[kind]]
        found |= {_json_text(value): value for value in values}
    return tuple(found.values())


def _constants(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _constant_kind(value: Any) -> str | None:
    return "null" if value is None else _JSON_TYPE_NAMES.get(type(value))


def _resolve(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow references inside the schema; anything else is an open schema."""
    for _ in range(_MAX_REFERENCES):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return schema
        schema = _at_pointer(root, reference[1:])
    return {}


def _at_pointer(root: Mapping[str, Any], pointer: str) -> Any:
    place: Any = root
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        place = place.get(name) if isinstance(place, dict) else None
    return place


def _json_text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _unchanged(value: Any) -> Any:
    return value


_ENCODERS: Mapping[str, Callable[[Any], Any]] = {
    "string": _unchanged,
    "integer": int,
    "number": float,
    "boolean": _unchanged,
}
