"""Published Functions, one row at a time and many."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import sutro as so  # type: ignore[import-not-found]
from pydantic import BaseModel

Given = dict[str, Any]
# Of the SDK's environment; in ours it may be missing.
requests: Any = import_module("requests")
ROWS = [
    {"query": "a quote for 60 seats", "region": "EMEA"},
    {"query": "I am a student", "region": "APAC"},
]
NAME = "lead-qualifier"


class _Lead(BaseModel):
    query: str
    region: str


def _refusal(call: Any) -> dict[str, Any]:
    """What an SDK's error tells about itself."""
    try:
        call()
    except requests.HTTPError as error:
        return {
            "class": type(error).__name__,
            "text": str(error),
            "code": error.code,
            "detail": error.detail,
            "has_request_id": bool(error.request_id),
            "retry_after": getattr(error, "retry_after", None),
        }
    return {"class": None}


def _outputs(job_id: str | None, **options: Any) -> dict[str, list[Any]]:
    so.await_job_completion(job_id, obtain_results=False)
    return dict(so.get_job_results(job_id, **options).to_dict(as_series=False))


def run(_: Given) -> object:
    """One row, answered at once."""
    result = so.run_function(NAME, ROWS[0])
    return {
        "whole": dict(result),
        "output": result.output,
        "confidence": result.confidence,
        "usage": result.usage,
        "request_id": result.request_id,
        "function": result.function,
    }


def run_without_confidence(_: Given) -> object:
    """It is null then."""
    return so.run_function(NAME, ROWS[0], confidence_scoring=False)


def run_with_an_object(_: Given) -> object:
    """A pydantic object is an input as well."""
    return so.run_function(NAME, _Lead(query="I am a student", region="")).output


def run_with_a_string(_: Given) -> object:
    """Which a Function of one text input takes."""
    return so.run_function("shout", "hello").output


def refused_runs(_: Given) -> object:
    """Every mistake has its class, code and sentence."""
    image = so.Image.from_bytes(b"x", "image/png")
    return {
        "missing": _refusal(lambda: so.run_function(NAME, {"region": "EMEA"})),
        "unknown": _refusal(lambda: so.run_function(NAME, {**ROWS[0], "extra": 1})),
        "string": _refusal(lambda: so.run_function(NAME, "hello")),
        "no_function": _refusal(lambda: so.run_function("nobody", ROWS[0])),
        "image": _refusal(lambda: so.run_function("shout", {"text": image})),
    }


def too_many_runs(given: Given) -> object:
    """Another account's allowance is used up by itself."""
    hasty = so.Sutro(api_key=given["hasty_key"], api_url=os.environ["SUTRO_API_URL"])
    for _ in range(given["runs_a_minute"] * 2):
        refusal = _refusal(lambda: hasty.run_function("shout", "hello"))
        if refusal["class"] is not None:
            return refusal
    return None


def batch(given: Given) -> object:
    """Lists, frames, files and an address."""
    polars = pl.DataFrame(ROWS)
    polars.write_csv("leads.csv")
    polars.write_parquet("leads.parquet")
    forms = [
        ROWS,
        polars,
        pd.DataFrame(ROWS),
        "leads.csv",
        "leads.parquet",
        f"{given['files']}/leads.csv",
        f"{given['files']}/leads.parquet",
    ]
    job_ids = [so.batch_run_function(NAME, form, job_priority=1) for form in forms]
    return [_outputs(job_id) for job_id in job_ids]


def batch_with_an_id_column(given: Given) -> object:
    """Carried to the results."""
    return _outputs(
        so.batch_run_function(NAME, f"{given['files']}/leads.parquet", id_column="id"),
        include_inputs=True,
    )


def batch_attached(_: Given) -> object:
    """With a progress bar."""
    job_id = so.batch_run_function(NAME, ROWS, stay_attached=True, job_name="leads")
    return _outputs(job_id)


def batch_of_rendered_prompts(_: Given) -> object:
    """Strings are prompts as they are, beside rows that are rendered."""
    job_id = so.batch_run_function(NAME, ["I am a student", ROWS[0]])
    return _outputs(job_id, include_inputs=True)


def batch_without_a_priority(_: Given) -> object:
    """Null is the usual one."""
    return _outputs(so.batch_run_function(NAME, ROWS, job_priority=None))


def batch_with_gaps_and_extras(_: Given) -> object:
    """Optional inputs may be missing, and further fields do no harm."""
    rows = [{"query": "a quote"}, {"query": "a demo", "region": None, "more": [1]}]
    return _outputs(so.batch_run_function(NAME, rows), include_inputs=True)


def batch_dry_run(_: Given) -> object:
    """What it would cost."""
    job_id = so.batch_run_function(NAME, ROWS, dry_run=True)
    return next(job for job in so.list_jobs() if job["job_id"] == job_id)


def refused_batches(_: Given) -> object:
    """None of them becomes a job."""
    return [
        so.batch_run_function(NAME, [{"region": "EMEA"}]),
        so.batch_run_function("nobody", ROWS),
        so.infer(ROWS, model=NAME, system_prompt="no"),
        so.infer(ROWS, model=NAME, output_schema={"type": "object"}),
    ]
