"""Schemas that would take for ever are found out before they are used."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.schema import OutputSchema
from sutro_stream.values.schema_cost import MAX_WAYS, cost_of

TREE: dict[str, Any] = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "right": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
        }
    },
    "$ref": "#/$defs/node",
}
TWICE: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"anyOf": [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}]}},
    "additionalProperties": False,
}


def doubling(keyword: str, steps: int) -> dict[str, Any]:
    """A schema that is as long as its steps and as wide as two to their power."""
    definitions: dict[str, Any] = {"s0": {"type": "integer"}}
    for step in range(1, steps):
        part = {"$ref": f"#/$defs/s{step - 1}"}
        definitions[f"s{step}"] = {keyword: [part, part]}
    return {"$defs": definitions, "$ref": f"#/$defs/s{steps - 1}"}


def nested(levels: int) -> dict[str, Any]:
    """An object in an object."""
    return reduce(lambda inner, _: {"a": inner}, range(levels), dict[str, Any]())


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_a_schema_that_doubles_with_each_step_is_refused(keyword: str) -> None:
    """However short it is."""
    with pytest.raises(ConfigurationError, match="too complex"):
        OutputSchema.parse(doubling(keyword, 40))


def test_doubling_below_properties_and_items_is_counted_as_well() -> None:
    """Each way leads to other places, and still has to be gone."""
    definitions: dict[str, Any] = {"s0": {}}
    for step in range(1, 40):
        part = {"$ref": f"#/$defs/s{step - 1}"}
        definitions[f"s{step}"] = {"properties": {"a": part}, "items": part}
    with pytest.raises(ConfigurationError, match="too complex"):
        OutputSchema.parse({"$defs": definitions, "$ref": "#/$defs/s39"})


def test_a_chain_of_references_may_not_be_endless() -> None:
    """Ways are remembered while they are gone."""
    definitions: dict[str, Any] = {
        f"s{step}": {"$ref": f"#/$defs/s{step + 1}"} for step in range(MAX_WAYS // 2)
    }
    definitions[f"s{MAX_WAYS // 2}"] = {}
    with pytest.raises(ConfigurationError, match="too complex"):
        OutputSchema.parse({"$defs": definitions, "$ref": "#/$defs/s0"})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.com/schema"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "other.json#/a"},
        {"$dynamicRef": "https://example.com/schema"},
        {"$id": "https://example.com/a", "$ref": "b"},
        {"$defs": {"a": {"$id": "b"}}, "$ref": "#/$defs/a"},
        {"$schema": "https://example.com/dialect"},
    ],
)
def test_nothing_outside_the_schema_is_looked_at(schema: dict[str, Any]) -> None:
    """No address and no file."""
    with pytest.raises(ConfigurationError):
        OutputSchema.parse(schema)


@pytest.mark.parametrize(
    "schema",
    [
        TREE,
        {"$id": "https://example.com/a", "$ref": "https://example.com/a#/$defs/b"}
        | {"$defs": {"b": {"type": "integer"}}},
        {"$defs": {"b": {"$anchor": "here"}}, "properties": {"x": {"$ref": "#here"}}},
        {"$defs": {"a/b": {}}, "properties": {"x": {"$ref": "#/$defs/a~1b"}}},
        {"$defs": {"a b": {}}, "properties": {"x": {"$ref": "#/$defs/a%20b"}}},
        {"items": [{"type": "integer"}], "$ref": "#/items/0"}
        | {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"properties": {"$id": {"type": "string"}}},
        {"properties": {"a": True, "b": False}},
    ],
)
def test_references_inside_a_schema_are_followed(schema: dict[str, Any]) -> None:
    """By name, by place, and with what needs escaping."""
    OutputSchema.parse(schema)


def test_a_tree_is_not_taken_for_a_schema_that_explodes() -> None:
    """Its branches are different places, so that it may be as deep as it likes."""
    assert cost_of(TREE).recurrence == 1
    leaf: dict[str, Any] = {"value": 1}
    deep = reduce(lambda inner, _: {"left": inner}, range(200), leaf)
    value, reason, _ = OutputSchema.parse(TREE).check(json.dumps(deep))
    assert (value, reason) == (deep, None)


def test_an_answer_that_would_take_for_ever_is_not_checked() -> None:
    """Each of its levels would double the work; a flat one is checked."""
    schema = OutputSchema.parse(TWICE)
    assert schema.check(json.dumps(nested(9)))[1] is None
    value, reason, field = schema.check(json.dumps(nested(200)))
    assert (value, field) == (None, None)
    assert reason == "too deep or too long to be checked with its schema"


def test_where_an_answer_fails_is_told_if_that_takes_no_time() -> None:
    """Else, only that it does."""
    schema = OutputSchema.parse(TWICE)
    shallow = json.dumps({"a": {"b": 1}})
    assert schema.check(shallow)[1] == "a does not conform to the schema (anyOf)"
    wrong: dict[str, Any] = {"b": 1}
    deep = json.dumps(reduce(lambda inner, _: {"a": inner}, range(15), wrong))
    assert schema.check(deep)[1] == "the answer does not conform to the schema"


def test_a_long_answer_to_a_wide_schema_is_not_checked() -> None:
    """Each of its items would be held against all of them."""
    schema = OutputSchema.parse({"items": {"anyOf": [{"type": "integer"}] * 5000}})
    assert schema.check(json.dumps([1] * 10))[1] is None
    assert schema.check(json.dumps([1] * 10_000))[0] is None


def test_a_long_answer_to_a_plain_schema_is_checked() -> None:
    """There is nothing to fear."""
    schema = OutputSchema.parse({"items": {"type": "integer"}})
    assert schema.check(json.dumps([1] * 200_000))[1] is None
    reason = schema.check(json.dumps([1] * 200_000 + ["x"]))[1]
    assert reason == "200000 does not conform to the schema (type)"
