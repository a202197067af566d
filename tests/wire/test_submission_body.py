"""The body of a submission, read back by the server's parser."""

from __future__ import annotations

import orjson

from sutro_stream.wire.submission import Submission, parse_submission
from sutro_stream.wire.submission_body import reference_body, submission_body


def test_what_was_said_comes_back() -> None:
    """Field by field."""
    submission = Submission(
        model="m",
        system_prompt="Be brief.",
        json_schema={"type": "object", "properties": {"z": {}, "a": {}}},
        sampling_params={"temperature": 0.5},
        priority=1,
        seed_per_row=True,
        truncate_rows=True,
        name="n",
        description="d",
    )
    body = b"".join(submission_body(submission, [b'"a",', b'{"b":1}']))
    assert orjson.loads(body)["inputs"] == ["a", {"b": 1}]
    assert parse_submission(body) == submission
    assert body.index(b'"z"') < body.index(b'"a":{}')


def test_defaults_are_left_out() -> None:
    """But for what deployments differ in."""
    fields = orjson.loads(b"".join(submission_body(Submission(), [b'"a"'])))
    assert fields == {"inputs": ["a"], "job_priority": 0, "truncate_rows": False}


def test_rows_that_lie_elsewhere() -> None:
    """The address instead of the rows."""
    pieces = reference_body(Submission(column_name="c"), "https://a/b.csv")
    assert orjson.loads(b"".join(pieces))["inputs"] == "https://a/b.csv"
