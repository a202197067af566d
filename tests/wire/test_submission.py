"""The fields of a submission: what they mean, and what is said about bad ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.submission import Submission, parse_submission

SCHEMA = {
    "$defs": {"Label": {"enum": ["a", "b"], "title": "Label", "type": "string"}},
    "properties": {
        "label": {"$ref": "#/$defs/Label"},
        "score": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
    },
    "required": ["label"],
    "title": "Answer",
    "type": "object",
}
FULL: dict[str, Any] = {
    "column_name": "prompt",
    "id_column_name": "record_id",
    "model": "gpt-oss-20b",
    "system_prompt": "Be kind.",
    "json_schema": SCHEMA,
    "sampling_params": {"temperature": 0, "stop": ["\n"]},
    "job_priority": 1,
    "cost_estimate": True,
    "random_seed_per_input": True,
    "truncate_rows": True,
    "name": "n",
    "description": "d",
}


def parsed(**fields: Any) -> Submission:
    """What the fields mean."""
    return parse_submission(json.dumps(fields).encode())


def refusal(**fields: Any) -> str:
    """What is said about fields that do not fit."""
    with pytest.raises(ApiError) as caught:
        parsed(**fields)
    assert caught.value.status == 422
    return caught.value.detail


def test_every_field_has_its_meaning() -> None:
    """A full submission is read completely."""
    assert parsed(**FULL) == Submission(
        model="gpt-oss-20b",
        column_name="prompt",
        id_column_name="record_id",
        system_prompt="Be kind.",
        json_schema=SCHEMA,
        sampling_params={"temperature": 0, "stop": ["\n"]},
        priority=1,
        cost_estimate=True,
        seed_per_row=True,
        truncate_rows=True,
        name="n",
        description="d",
    )


def test_nothing_is_required() -> None:
    """Without a field, the defaults of the public page hold."""
    assert parsed() == Submission()


def test_null_means_absent() -> None:
    """The SDK sends every field, most of them as null."""
    assert parsed(**dict.fromkeys(FULL)) == Submission()


def test_unknown_fields_are_ignored() -> None:
    """Newer clients may send more, and `inputs` is not read here."""
    assert parsed(wanted=[1], inputs=["a"], _x=None) == Submission()


def test_a_dry_run_is_an_estimate() -> None:
    """An older name for it."""
    assert parsed(dryrun=True).cost_estimate
    assert not parsed(dryrun=False).cost_estimate


def test_a_null_sampling_parameter_is_not_set() -> None:
    """Only what is given overrides a default."""
    params = parsed(sampling_params={"temperature": None, "top_p": 0.5, "n": 1})
    assert params.sampling_params == {"top_p": 0.5, "n": 1}


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": NaN}', b'"\\ud800"', b"\xff"])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """With the status for it."""
    with pytest.raises(ApiError, match="not valid JSON") as caught:
        parse_submission(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"a"', b"1"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    """There are no fields in it."""
    with pytest.raises(ApiError, match="must be a JSON object") as caught:
        parse_submission(body)
    assert caught.value.status == 422


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", 1),
        ("model", ["a"]),
        ("column_name", 1),
        ("id_column_name", {}),
        ("system_prompt", 1),
        ("json_schema", "{}"),
        ("json_schema", []),
        ("sampling_params", "x"),
        ("sampling_params", []),
        ("job_priority", True),
        ("job_priority", "1"),
        ("job_priority", 1.0),
        ("job_priority", 2),
        ("job_priority", -1),
        ("cost_estimate", 1),
        ("cost_estimate", "true"),
        ("dryrun", "true"),
        ("random_seed_per_input", 0),
        ("truncate_rows", "no"),
        ("name", 1),
        ("name", "n" * 46),
        ("description", "d" * 513),
    ],
)
def test_a_value_that_does_not_fit_is_refused(field: str, value: object) -> None:
    """The message names the field."""
    assert refusal(**{field: value}).startswith(f"{field}: ")


def test_every_mistake_is_told() -> None:
    """In one line."""
    message = refusal(model=1, name="n" * 46)
    assert "model: " in message
    assert "name: " in message
    assert "\n" not in message


def test_mistakes_in_one_field_stay_with_it() -> None:
    """Its name comes first, then each of them."""
    message = refusal(sampling_params={"top_p": 2, "n": 0})
    assert message.startswith("sampling_params: ")
    assert "top_p: " in message.split("; ")[1]
    assert "\n" not in message


def test_a_refusal_does_not_show_the_value() -> None:
    """It may be a secret that came into the wrong field."""
    assert "SECRET" not in refusal(name="SECRET" * 20, truncate_rows="SECRET")


def test_lengths_are_counted_in_characters() -> None:
    """Not in bytes or halves."""
    assert parsed(name="\U0001f600" * 45).name == "\U0001f600" * 45
    assert parsed(description="ü" * 512).description == "ü" * 512


@pytest.mark.parametrize(
    "column",
    [
        "inputs",
        "outputs",
        "cumulative_logprobs",
        "confidence_score",
        "inference_result",
    ],
)
def test_a_carried_column_cannot_hide_a_result(column: str) -> None:
    """Results have columns of these names."""
    assert refusal(id_column_name=column).startswith(f"id_column_name: '{column}'")


@pytest.mark.parametrize("field", ["json_schema", "sampling_params"])
def test_depth_is_refused(field: str) -> None:
    """Whatever can be parsed; anything deeper is not JSON to us."""
    for depth in (250, 300, 500, 1000, 1020):
        body = f'{{"{field}": {{"enum": {"[" * depth}{"]" * depth}}}}}'.encode()
        with pytest.raises(ApiError) as caught:
            parse_submission(body)
        assert caught.value.status == 422
        assert caught.value.detail.startswith(field)


@pytest.mark.parametrize(
    "schema", [{"type": "objekt"}, {"properties": []}, {"$ref": "https://host/a.json"}]
)
def test_a_schema_must_be_one(schema: object) -> None:
    """Found when it is submitted, not row by row."""
    assert refusal(json_schema=schema).startswith("json_schema")


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"temprature": 1}, "temprature is not a known field"),
        ({"temperature": -1}, "temperature: "),
        ({"temperature": "1"}, "temperature: "),
        ({"max_tokens": True}, "max_tokens: "),
        ({"seed": 1.5}, "seed: "),
        ({"min_tokens": 3, "max_tokens": 2}, "min_tokens 3 is above max_tokens 2"),
        ({"n": 2}, "n: "),
    ],
)
def test_a_sampling_parameter_is_checked(params: object, named: str) -> None:
    """Name, type and range; the message says which."""
    message = refusal(sampling_params=params)
    assert message.startswith("sampling_params: ")
    assert named in message
