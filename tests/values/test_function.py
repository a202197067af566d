"""Function files: what they mean, and what is said about bad ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.function import Confidence, Function, FunctionInput, InputType
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.template import Template

FULL: dict[str, Any] = {
    "name": "lead-qualifier",
    "revision": 7,
    "description": "Sorts leads.",
    "model": "gpt-oss-20b",
    "inputs": [
        {"name": "query", "type": "text", "description": "What they wrote."},
        {"name": "age", "type": "integer", "required": False, "default": 0},
    ],
    "system_prompt": "You sort leads.",
    "prompt_template": "Query: {{query}}\nAge: {{ age }}",
    "output_schema": {
        "type": "object",
        "properties": {"label": {"enum": ["qualified", "not_qualified"]}},
        "required": ["label"],
    },
    "sampling_params": {"temperature": 0},
    "confidence": {"enabled": True, "field": "label"},
}
LEAST: dict[str, Any] = {"name": "f", "inputs": [{"name": "a"}]}


def complaint(data: dict[str, Any] | str | bytes) -> str:
    """What is said about a Function that is not one."""
    with pytest.raises(ConfigurationError) as caught:
        Function.validate(data, what="f.json")
    return str(caught.value)


def test_every_field_has_its_meaning() -> None:
    """A full specification is read completely."""
    function = Function.validate(FULL)
    assert function.name == "lead-qualifier"
    assert function.revision == 7
    assert function.description == "Sorts leads."
    assert function.inputs == (
        FunctionInput(name="query", description="What they wrote."),
        FunctionInput(name="age", type=InputType.INTEGER, required=False, default=0),
    )
    assert function.template.fields == ("query", "age")
    assert function.instructions.model == "gpt-oss-20b"
    assert function.instructions.system_prompt == "You sort leads."
    assert function.instructions.schema is not None
    assert function.instructions.schema.definition == FULL["output_schema"]
    assert function.instructions.sampling == SamplingParams(temperature=0)
    assert function.confidence == Confidence(field="label")


def test_most_fields_may_be_left_out() -> None:
    """A name and an input are enough; the template lists the inputs."""
    function = Function.validate(
        {"name": "f", "inputs": [{"name": "a"}, {"name": "b"}]}
    )
    assert function.template == Template.parse("a: {{ a }}\nb: {{ b }}")
    assert function.instructions.schema is None
    assert function.instructions.sampling == SamplingParams()
    assert (function.revision, function.confidence) == (None, None)


def test_an_explicit_null_is_as_good_as_nothing() -> None:
    """Written by programs that always write every field."""
    optional = ("revision", "description", "model", "system_prompt", "confidence")
    nulls = dict.fromkeys((*optional, "prompt_template", "output_schema"))
    assert Function.validate({**LEAST, **nulls}) == Function.validate(LEAST)


@pytest.mark.parametrize("name", ["a", "7", "a-b", "a--b", "a" * 64])
def test_a_slug_is_a_name(name: str) -> None:
    """Lower-case letters, digits and inner hyphens."""
    assert Function.validate({**LEAST, "name": name}).name == name


@pytest.mark.parametrize(
    "name", ["", "A", "a_b", "-a", "a-", "a b", "a/b", "..", "é", "a\n", "a" * 65]
)
def test_a_name_that_is_no_slug_is_refused(name: str) -> None:
    """Names end up in addresses and folders; the rule is in the message."""
    said = complaint({**LEAST, "name": name})
    assert said.startswith(f"f.json: name: {name!r} is not a slug (at most 64 ")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"name": 1}, ["name: input should be a valid string"]),
        ({"inputs": []}, ["inputs: list should have at least 1 item"]),
        ({"inputs": {"a": "text"}}, ["inputs: input should be a valid"]),
        ({"inputs": ["a"]}, ["inputs[0]: input should be an object"]),
        ({"inputs": [{"name": ""}]}, ["inputs[0].name: string should have at least"]),
        (
            {"inputs": [{"nmae": "a"}]},
            ["\n  - inputs[0].name is required", "inputs[0].nmae is not a known field"],
        ),
        (
            {"inputs": [{"name": "a", "type": "string"}]},
            [
                "inputs[0].type",
                "'text', 'integer', 'number', 'boolean', 'json' or 'image'",
            ],
        ),
        ({"inputs": [{"name": "a"}] * 2}, ["inputs: declared twice: 'a'"]),
        ({"promt_template": "x"}, ["promt_template is not a known field"]),
        (
            {"prompt_template": "{{ b }}"},
            ["no such input: 'b' (declared: 'a')"],
        ),
        (
            {"prompt_template": "{{ a | upper }}{{ a.b }}"},
            ["no such input: 'a | upper', 'a.b'", "without expressions or filters"],
        ),
        ({"prompt_template": "{{ a"}, ["prompt_template: '{{' without its '}}'"]),
        ({"output_schema": []}, ["output_schema: input should be an object"]),
        (
            {"output_schema": {"properties": {"x": {"type": "strng"}}}},
            ["output_schema.properties.x.type is not a valid JSON Schema", "strng"],
        ),
        (
            {"output_schema": {"$ref": "https://example.com/s.json"}},
            ["output_schema is not a valid JSON Schema", "example.com"],
        ),
        (
            {"sampling_params": {"temperatur": 1, "top_p": 2}},
            [
                "sampling_params:\n",
                "temperatur is not a known field",
                "top_p: input should be less than or equal to 1",
            ],
        ),
        ({"sampling_params": []}, ["sampling_params: input should be an object"]),
        ({"revision": 0}, ["revision: input should be greater than or equal to 1"]),
        ({"confidence": True}, ["confidence: input should be an object"]),
    ],
)
def test_a_mistake_is_a_line_to_act_on(
    change: dict[str, Any], parts: list[str]
) -> None:
    """The place and what should be there, alike for JSON and for mappings."""
    data = {**LEAST, **change}
    for form in (data, json.dumps(data)):
        said = complaint(form)
        assert said.startswith("f.json:")
        for part in parts:
            assert part in said


def test_all_missing_fields_are_listed_at_once() -> None:
    """Nobody should have to run once for each mistake."""
    assert complaint({}) == "f.json:\n  - name is required\n  - inputs is required"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "invalid JSON: EOF"),
        ('{"name": "f",}', "invalid JSON: trailing comma at line 1 column 14"),
        ("[]", "input should be an object"),
        (b"\xff\xfe", "invalid JSON"),
    ],
)
def test_what_is_not_a_json_object_is_refused(text: str | bytes, part: str) -> None:
    """With line and column where there are any."""
    assert part in complaint(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_is_loaded(tmp_path: Path, encoding: str) -> None:
    """With or without the mark that some editors put first."""
    path = tmp_path / "f.json"
    path.write_text(json.dumps(FULL, ensure_ascii=False), encoding=encoding)
    assert Function.load(path) == Function.validate(FULL)
    assert Function.load(str(path)).name == "lead-qualifier"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """One line, for a wrong path as for a folder."""
    path = tmp_path / "none.json"
    with pytest.raises(ConfigurationError, match=r"none\.json: no such file"):
        Function.load(path)
    with pytest.raises(ConfigurationError, match="is a directory"):
        Function.load(tmp_path)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    """Also where the mistake is found only after parsing."""
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**LEAST, "name": "Bad Name"}))
    with pytest.raises(ConfigurationError, match=r"bad\.json: name: 'Bad Name'"):
        Function.load(path)
