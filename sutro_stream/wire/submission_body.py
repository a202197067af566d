"""The body of a submission, as a client writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import orjson

from sutro_stream.wire.submission import Submission

Body: TypeAlias = Sequence[bytes | memoryview]
"""Pieces that are sent one behind the other; joined, they would be there twice."""


def submission_body(submission: Submission, rows: Iterable[bytes | memoryview]) -> Body:
    """A submission of rows.

    Pure, and the same bytes for the same values: deployments tell by them whether a
    submission that comes a second time is the same.

    Args:
        submission: Everything besides the rows.
        rows: Pieces that joined are the JSON of all, with commas between.
    """
    return (b'{"inputs":[', *rows, b"]" + _rest(submission))


def reference_body(submission: Submission, reference: str) -> Body:
    """A submission of rows that lie elsewhere: an address, or the ID of a dataset."""
    return (b'{"inputs":', orjson.dumps(reference), _rest(submission))


def _rest(submission: Submission) -> bytes:
    # In the order given: that of a schema's properties means something to models.
    fields = orjson.dumps(_fields(submission))
    return b"}" if fields == b"{}" else b"," + fields[1:]


def _fields(submission: Submission) -> dict[str, Any]:
    """What was said, by its names on the wire."""
    fields: dict[str, Any] = {
        "model": submission.model,
        "column_name": submission.column_name,
        "id_column_name": submission.id_column_name,
        "system_prompt": submission.system_prompt,
        "json_schema": submission.json_schema,
        "sampling_params": dict(submission.sampling_params) or None,
        "job_priority": submission.priority,
        "cost_estimate": submission.cost_estimate or None,
        "random_seed_per_input": submission.seed_per_row or None,
        "truncate_rows": submission.truncate_rows,
        "name": submission.name,
        "description": submission.description,
    }
    return {name: value for name, value in fields.items() if value is not None}
