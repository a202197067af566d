"""Minimal instances satisfy the schemas they are made for."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from sutro_stream.testing.chat_server.schema_instances import minimal_instance

SCHEMAS: dict[str, dict[str, Any]] = {
    "const": {"const": 7},
    "enum": {"type": "string", "enum": ["a", "b"]},
    "default": {"type": "integer", "default": 3},
    "string": {"type": "string", "minLength": 4},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "anything": {},
    "types": {"type": ["number", "null"]},
    "integer at least": {"type": "integer", "minimum": 3},
    "integer above": {"type": "integer", "exclusiveMinimum": 3},
    "integer at most": {"type": "integer", "maximum": -2},
    "integer below": {"type": "integer", "exclusiveMaximum": 0},
    "integer of a fraction": {"type": "integer", "minimum": 0.5},
    "multiple": {"type": "integer", "minimum": 10, "multipleOf": 7},
    "number between": {
        "type": "number",
        "exclusiveMinimum": 0.2,
        "exclusiveMaximum": 0.3,
    },
    "array": {"type": "array", "items": {"type": "integer"}, "minItems": 2},
    "tuple": {
        "type": "array",
        "prefixItems": [{"type": "string"}, {"type": "boolean"}],
        "minItems": 2,
    },
    "any of": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
    "one of": {"oneOf": [{"const": 1}, {"const": 2}]},
    "all of": {
        "allOf": [
            {"properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "integer"}}, "required": ["b"]},
        ],
        "type": "object",
    },
    "nested": {
        "type": "object",
        "properties": {
            "inner": {
                "type": "object",
                "properties": {"score": {"type": "number", "minimum": 1}},
                "required": ["score"],
                "additionalProperties": False,
            },
            "not required": {"type": "string"},
        },
        "required": ["inner"],
        "additionalProperties": False,
    },
    "reference": {
        "$defs": {"a/b": {"type": "string", "minLength": 1}},
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/a~1b"}},
        "required": ["x"],
    },
    "recursive": {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_instance_is_valid(name: str) -> None:
    """An independent validator accepts the instance."""
    schema = SCHEMAS[name]
    jsonschema_rs.validate(schema, minimal_instance(schema))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/absent"},
        {"$ref": "elsewhere.json"},
        {"$ref": "#"},
        {"type": "text"},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {
            "type": "object",
            "properties": {"next": {"$ref": "#"}},
            "required": ["next"],
        },
    ],
)
def test_impossible_schemas_are_refused(schema: dict[str, Any]) -> None:
    """What has no instance, or makes no sense, is an error."""
    with pytest.raises(ValueError, match=r"\w"):
        minimal_instance(schema)
