"""Output schemas: typed columns, and answers held against them."""

from typing import Any

import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.schema import OutputSchema

TEXT, INTEGER, NUMBER, BOOLEAN = pa.string(), pa.int64(), pa.float64(), pa.bool_()

DEFINITIONS: dict[str, Any] = {
    "label": {"type": "string", "enum": ["a", "b"]},
    "maybe": {"anyOf": [{"$ref": "#/$defs/label"}, {"type": "null"}]},
    "a/b~c": {"type": "boolean"},
    "loop": {"$ref": "#/$defs/loop"},
    "count": {"type": "integer"},
}


def column(definition: Any) -> tuple[pa.DataType, Any]:
    """Arrow type and encoder of a property with this definition."""
    schema = OutputSchema.parse(
        {"type": "object", "properties": {"x": definition}, "$defs": DEFINITIONS}
    )
    (field,) = schema.fields
    assert field.name == "x"
    return field.type, field.encode


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({"type": "string"}, TEXT),
        ({"type": "integer"}, INTEGER),
        ({"type": "number"}, NUMBER),
        ({"type": "boolean"}, BOOLEAN),
        ({"type": ["string", "null"]}, TEXT),
        ({"type": ["integer", "number"]}, NUMBER),
        ({"enum": ["a", "b"]}, TEXT),
        ({"enum": [1, 2, None]}, INTEGER),
        ({"enum": [1, 2.5]}, NUMBER),
        ({"enum": [True, False]}, BOOLEAN),
        ({"const": 3}, INTEGER),
        ({"const": "a"}, TEXT),
        ({"$ref": "#/$defs/label"}, TEXT),
        ({"$ref": "#/$defs/a~1b~0c"}, BOOLEAN),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, INTEGER),
        ({"oneOf": [{"$ref": "#/$defs/count"}, {"type": "null"}]}, INTEGER),
        ({"anyOf": [{"$ref": "#/$defs/label"}, {"const": "c"}]}, TEXT),
        ({"$ref": "#/$defs/maybe"}, TEXT),
        ({"type": "array", "items": {"type": "string"}}, pa.list_(TEXT)),
        ({"type": "array", "items": {"$ref": "#/$defs/label"}}, pa.list_(TEXT)),
        ({"type": ["array", "null"], "items": {"type": "number"}}, pa.list_(NUMBER)),
    ],
)
def test_a_property_of_one_type_is_a_typed_column(
    definition: Any, expected: pa.DataType
) -> None:
    """References, enums and nullable types are seen through."""
    assert column(definition)[0] == expected


@pytest.mark.parametrize(
    ("definition", "value", "text"),
    [
        ({"type": "object"}, {"a": [1, "é"]}, '{"a":[1,"é"]}'),
        ({"type": ["string", "integer"]}, "a", '"a"'),
        ({"enum": [1, "a"]}, 1, "1"),
        ({"enum": [[1], [2]]}, [1], "[1]"),
        ({}, True, "true"),
        (True, 1.5, "1.5"),
        ({"type": "array"}, [1], "[1]"),
        ({"type": "array", "items": {"type": "integer"}}, [2**63], f"[{2**63}]"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, [None], "[null]"),
        ({"type": "array", "items": {"type": "array"}}, [[1]], "[[1]]"),
        ({"$ref": "#/$defs/loop"}, 1, "1"),
    ],
)
def test_any_other_property_is_a_column_of_json(
    definition: Any, value: Any, text: str
) -> None:
    """Nothing is lost where a column cannot have one type."""
    kind, encode = column(definition)
    assert (kind, encode(value)) == (TEXT, text)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    """JSON Schema counts 1.0 as an integer, Arrow does not."""
    kind, encode = column({"type": "integer"})
    assert pa.array([encode(1.0)], kind).to_pylist() == [1]
    kind, encode = column({"type": "array", "items": {"type": "number"}})
    assert pa.array([encode([1, 2.5])], kind).to_pylist() == [[1.0, 2.5]]


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "string"},
        {"type": "array", "items": {"properties": {"x": {}}}},
        {"enum": ["a"]},
        {"type": "object"},
        {},
    ],
)
def test_answers_without_properties_have_no_columns(
    definition: dict[str, Any],
) -> None:
    """There is nothing to make columns of."""
    assert OutputSchema.parse(definition).fields == ()


def test_a_schema_may_be_a_reference_as_a_whole() -> None:
    """As pydantic writes recursive models."""
    schema = OutputSchema.parse(
        {
            "$ref": "#/$defs/Node",
            "$defs": {
                "Node": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "integer"},
                        "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                    },
                }
            },
        }
    )
    assert [(field.name, field.type) for field in schema.fields] == [
        ("id", INTEGER),
        ("next", TEXT),
    ]


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"type": "strng"}, "--schema.type is not a valid JSON Schema: "),
        ({"properties": []}, "--schema.properties is not a valid JSON Schema: "),
        ({"$ref": "#/$defs/none"}, "--schema is not a valid JSON Schema: "),
        ({"$ref": "https://example.com/x"}, "--schema is not a valid JSON Schema: "),
    ],
)
def test_what_is_no_schema_is_refused(definition: dict[str, Any], message: str) -> None:
    """One line with the place; nothing is fetched from elsewhere."""
    with pytest.raises(ConfigurationError) as caught:
        OutputSchema.parse(definition, what="--schema")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


CHECKED = OutputSchema.parse(
    {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}},
        },
        "required": ["n"],
        "additionalProperties": False,
    }
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"n": 1}', {"n": 1}),
        (' {"n": 1.0, "tags": []}\n', {"n": 1.0, "tags": []}),
        (f'{{"n": {-(2**63)}}}', {"n": -(2**63)}),
    ],
)
def test_an_answer_that_conforms_is_parsed(text: str, value: Any) -> None:
    """The value comes back as it was written."""
    assert CHECKED.check(text) == (value, None, None)


@pytest.mark.parametrize(
    ("text", "reason", "field"),
    [
        ("", "not valid JSON: ", None),
        ('{"n": 1', "not valid JSON: unexpected end of data at character 7", None),
        ('```json\n{"n": 1}\n```', "not valid JSON: ", None),
        ('{"n": NaN}', "not valid JSON: ", None),
        ("[1]", "the answer does not conform to the schema (type)", None),
        ("{}", "the answer does not conform to the schema (required)", None),
        ('{"n": "1"}', "n does not conform to the schema (type)", "n"),
        (
            '{"n": 1, "tags": ["private"]}',
            "tags.0 does not conform to the schema (maxLength)",
            "tags",
        ),
        (f'{{"n": {2**63}}}', "n: the integer does not fit 64 bits", "n"),
        (f'{{"n": {10**40}}}', "n: the integer does not fit 64 bits", "n"),
    ],
)
def test_an_answer_that_does_not_conform_has_a_reason(
    text: str, reason: str, field: str | None
) -> None:
    """Where and why, without what the model wrote there."""
    value, found, place = CHECKED.check(text)
    assert value is None
    assert found is not None
    assert found.startswith(reason)
    assert "private" not in found
    assert place == field


def test_a_place_in_a_list_is_no_field() -> None:
    """Only properties are fields."""
    schema = OutputSchema.parse({"type": "array", "items": {"type": "integer"}})
    reason = "0 does not conform to the schema (type)"
    assert schema.check('["a"]') == (None, reason, None)


def test_schemas_are_equal_when_their_definitions_are() -> None:
    """What is compiled from them does not count."""
    assert OutputSchema.parse({"type": "object"}) == OutputSchema.parse(
        {"type": "object"}
    )


@pytest.mark.parametrize(
    ("definition", "values"),
    [
        ({"enum": ["a", 1, None]}, ("a", 1, None)),
        ({"const": "a"}, ("a",)),
        ({"type": "boolean"}, (True, False)),
        ({"type": ["boolean", "null"]}, (True, False, None)),
        ({"anyOf": [{"const": "a"}, {"enum": ["b", "a"]}]}, ("a", "b")),
        ({"$ref": "#/$defs/label"}, ("x", "y")),
        ({"type": "string"}, None),
        ({"anyOf": [{"const": "a"}, {"type": "string"}]}, None),
        ({}, None),
    ],
)
def test_values_that_a_property_may_have(
    definition: dict[str, Any], values: tuple[Any, ...] | None
) -> None:
    """Listed ones only."""
    schema = OutputSchema.parse(
        {"properties": {"p": definition}, "$defs": {"label": {"enum": ["x", "y"]}}}
    )
    assert schema.allowed_values("p") == values
    assert schema.allowed_values("other") is None
