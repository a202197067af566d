"""The description of the API says what the code does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest

from sutro_stream.jobs.config import Quota
from sutro_stream.values.catalogue import Model
from sutro_stream.values.dataset import Dataset, DatasetField, DatasetFile
from sutro_stream.values.function import Function
from sutro_stream.values.job import InputKind, Job, JobInput, JobSpec, JobState
from sutro_stream.values.outcomes import Usage
from sutro_stream.wire import dataset_replies, replies, routes
from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.openapi import described_routes, description
from sutro_stream.wire.query import ResultsUrlQuery
from sutro_stream.wire.submission import parse_submission

DESCRIPTION = description(version="1.2.3")
SCHEMAS: Mapping[str, Any] = DESCRIPTION["components"]["schemas"]
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
QUEUED = Job(
    job_id="job-1",
    spec=JobSpec(account="alice", model="m", input=JobInput(kind=InputKind.ROWS)),
    state=JobState.QUEUED,
    created_at=NOON,
)
FAILED = Job(
    job_id="job-2",
    spec=JobSpec(
        account="alice",
        model="m",
        input=JobInput(kind=InputKind.DATASET, reference="dataset-1"),
        function="f",
        revision=3,
        system_prompt="s",
        json_schema={"type": "object"},
        sampling_params={"temperature": 0.5},
        name="n",
        description="d",
    ),
    state=JobState.FAILED,
    created_at=NOON,
    started_at=NOON,
    completed_at=NOON,
    rows=3,
    failed_rows=3,
    input_tokens=1,
    output_tokens=2,
    cost_usd=0.5,
    estimate_usd=0.25,
    answered_by="m-1",
    failure="all rows failed",
    note="estimated",
)
FUNCTION = Function.validate({"name": "f", "inputs": [{"name": "query"}]})
FILE = DatasetFile(
    file_id="file-1", name="a.parquet", uploaded_at=NOON, rows=1, size_bytes=9
)
FIELDS = [DatasetField(name="a", type="string")]
DATASET = Dataset(
    dataset_id="dataset-1",
    account="alice",
    created_at=NOON,
    updated_at=NOON,
    fields=tuple(FIELDS),
)

REPLIES: list[tuple[str, Any]] = [
    ("Submitted", replies.submitted("job-1")),
    ("JobStatus", replies.job_status(QUEUED)),
    ("JobStatus", replies.job_status(FAILED)),
    ("JobReply", replies.job(QUEUED)),
    ("JobReply", replies.job(FAILED)),
    ("Jobs", replies.jobs_listed([])),
    ("Jobs", replies.jobs_listed([QUEUED])),
    ("Jobs", replies.jobs_page([FAILED, QUEUED], next_cursor="x")),
    ("Jobs", replies.jobs_page([FAILED], next_cursor=None)),
    ("Cancelled", replies.cancelled(QUEUED, accepted=True)),
    ("Cancelled", replies.cancelled(FAILED, accepted=False)),
    ("AuthChecked", replies.auth_checked("alice")),
    ("Authenticated", replies.authenticated()),
    ("Quotas", replies.quotas({0: Quota(rows=1, tokens=2)})),
    (
        "ResultsUrl",
        replies.results_url(
            "job-1",
            ResultsUrlQuery(),
            key="k",
            filename="f",
            size_bytes=1,
            get_url="http://g",
            head_url="http://h",
        ),
    ),
    *(
        (
            "FunctionRun",
            replies.function_run(
                FUNCTION,
                request_id="req_1",
                model="m",
                answered_by=None,
                output=output,
                confidence=confidence,
                usage=Usage(input_tokens=1, output_tokens=2),
            ),
        )
        for output, confidence in [("text", None), ({"a": 1}, 0.5), (None, 1.0)]
    ),
    (
        "SubmissionStatus",
        replies.submission_status("k", status="FAILED", retryable=True, detail="why"),
    ),
    ("Models", replies.models([Model(name="m")], aliases={"a": "m"})),
    ("Refusal", replies.error(ApiError(404, "x", "y"), "req_1")),
    ("DatasetCreated", dataset_replies.dataset_created("dataset-1")),
    ("FileUploaded", dataset_replies.file_uploaded("dataset-1", FILE)),
    ("Datasets", dataset_replies.datasets_listed([DATASET])),
    ("DatasetFiles", dataset_replies.dataset_files_listed([FILE])),
    (
        "DatasetFiles",
        dataset_replies.dataset_files_listed([FILE], fields=FIELDS, detailed=True),
    ),
]


def closed(schema: Any) -> Any:
    """The schema without leave for keys that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if "properties" in found:
        found.setdefault("additionalProperties", False)
    return found


def validator(name: str) -> Any:
    """Of a schema, with every key to be named in it."""
    whole = {
        "$ref": f"#/components/schemas/{name}",
        "components": {"schemas": closed(dict(SCHEMAS))},
    }
    return jsonschema_rs.Draft202012Validator(whole)


@pytest.mark.parametrize(
    ("name", "reply"), REPLIES, ids=[f"{at}-{n}" for at, (n, _) in enumerate(REPLIES)]
)
def test_replies_are_as_described(name: str, reply: Any) -> None:
    """With all keys that are described and no others."""
    value = json.loads(json.dumps(reply))
    assert [str(error) for error in validator(name).iter_errors(value)] == []


def test_every_route_is_described() -> None:
    """In both directions, with its methods."""
    every = [*routes.ROUTES, routes.ARTIFACT]
    assert set(described_routes()) == set(every)
    for route in every:
        described = set(DESCRIPTION["paths"][route.path]) - {"parameters"}
        assert described == {method.lower() for method in route.methods}


def test_every_name_in_it_leads_somewhere() -> None:
    """And no schema is left over."""
    used = set(_references(DESCRIPTION))
    assert used == {f"#/components/schemas/{name}" for name in SCHEMAS}


def test_operations_have_different_ids() -> None:
    """Generated clients make names of them."""
    identities = list(_values(DESCRIPTION, "operationId"))
    assert len(identities) == len(set(identities))


def test_a_submission_with_every_field_null_is_one_by_the_description() -> None:
    """As the SDK sends it; and the code reads it."""
    fields = SCHEMAS["Submission"]["properties"]
    body = {**dict.fromkeys(fields), "inputs": ["a"]}
    assert validator("Submission").is_valid(body)
    parse_submission(json.dumps(body).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"inputs": []},
        {"inputs": 3},
        {"job_priority": 2},
        {"job_priority": "1"},
        {"name": "n" * 46},
        {"truncate_rows": 1},
        {"model": ["m"]},
    ],
)
def test_what_is_refused_is_none_by_the_description(fields: dict[str, Any]) -> None:
    """Types, lengths and ranges are those of the code."""
    assert not validator("Submission").is_valid({"inputs": ["a"], **fields})


def _references(value: Any) -> Iterator[str]:
    return _values(value, "$ref")


def _values(value: Any, wanted: str) -> Iterator[str]:
    items = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict) and isinstance(value.get(wanted), str):
        yield value[wanted]
    if isinstance(value, dict | list):
        for item in items:
            yield from _values(item, wanted)
