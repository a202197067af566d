"""`infer` and its relatives, over every form of input."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import sutro as so  # type: ignore[import-not-found]
from pydantic import BaseModel

Given = dict[str, Any]


def _columns(job_id: str | None, **options: Any) -> dict[str, list[Any]]:
    """The results of a job, column by column."""
    results = so.get_job_results(job_id, **options)
    return dict(results.to_dict(as_series=False))


def _job(job_id: str) -> dict[str, Any]:
    """A job as `list_jobs` has it."""
    return next(dict(job) for job in so.list_jobs() if job["job_id"] == job_id)


def attached_list(_: Given) -> object:
    """The first program that a person writes."""
    job_id = so.infer(["first", "second", "third"], system_prompt="Be brief.")
    return {"job_id": job_id, "results": _columns(job_id, include_inputs=True)}


def attached_rows_that_take_a_while(_: Given) -> object:
    """Long enough for the progress stream to be opened and watched."""
    job_id = so.infer([f"slow {number}" for number in range(40)])
    return _columns(job_id)


def attached_values_of_all_kinds(_: Given) -> object:
    """What a column of a table may hold."""
    job_id = so.infer(["text", None, 7, 0.5, True, "", "naïve ☃ 漢字"])
    return _columns(job_id, include_inputs=True)


def attached_pandas(_: Given) -> object:
    """The frame gets a new column."""
    frame = pd.DataFrame({"text": ["a", "b"], "n": [1, 2]}, index=[7, 9])
    job_id = so.infer(frame, column="text", output_column="answer")
    joined = so.get_job_results(job_id, with_original_df=frame[["text", "n"]])
    return {"frame": frame.to_dict("list"), "joined": joined.to_dict("list")}


def attached_polars(_: Given) -> object:
    """Columns joined by separators into one prompt."""
    frame = pl.DataFrame({"a": ["x", "y"], "b": [1, 2]})
    job_id = so.infer(frame, column=["a", "-", "b"])
    return so.get_job_results(job_id, with_original_df=frame).to_dict(as_series=False)


def files(_: Given) -> object:
    """CSV, Parquet and text files, read by the SDK."""
    frame = pl.DataFrame({"id": [3, 1], "text": ["three", "one"]})
    frame.write_csv("rows.csv")
    frame.write_parquet("rows.parquet")
    Path("rows.txt").write_text("three\none\n")
    sources = [("rows.csv", "text"), ("rows.parquet", "text"), ("rows.txt", None)]
    return [_columns(so.infer(path, column=column)) for path, column in sources]


def urls(given: Given) -> object:
    """CSV and Parquet files, fetched by the deployment, with an ID column."""
    return [
        _columns(
            so.infer(f"{given['files']}/{name}?X-Amz-Signature=secret", column="text",
                     id_column="id", job_priority=1, stay_attached=True),
            include_inputs=True,
        )
        for name in ("rows.csv", "rows.parquet")
    ]  # fmt: skip


def the_first_column_of_a_url(given: Given) -> object:
    """Which is what no column name means."""
    return _columns(so.infer(f"{given['files']}/rows.csv"))


def a_url_without_the_column(given: Given) -> object:
    """The job fails and says which columns there are."""
    return so.infer(f"{given['files']}/rows.csv?signature=secret", column="nope")


def a_url_that_is_not_there(given: Given) -> object:
    """The job fails; the submission does not."""
    return so.infer(f"{given['files']}/missing.csv?signature=secret")


def a_schema_as_a_dict(_: Given) -> object:
    """Fields become columns."""
    schema = {
        "type": "object",
        "properties": {
            "label": {"enum": ["good", "bad"]},
            "score": {"type": "integer", "minimum": 3},
        },
        "required": ["label", "score"],
    }
    return _columns(so.infer(["a", "b"], output_schema=schema))


class _Mood(Enum):
    happy = "happy"
    sad = "sad"


class _Person(BaseModel):
    name: str
    nick: str | None


class _Story(BaseModel):
    mood: _Mood
    hero: _Person
    others: list[_Person]


def a_schema_as_a_class(_: Given) -> object:
    """Schema of a pydantic class, with references and unions."""
    return _columns(so.infer(["a", "b"], output_schema=_Story))


def detached(_: Given) -> object:
    """Accepted at once, awaited afterwards."""
    job_id = so.infer(["a", "b"], job_priority=1)
    results = so.await_job_completion(job_id)
    return {
        "status": so.get_job_status(job_id),
        "results": results.to_dict(as_series=False),
    }


def detached_and_failed(_: Given) -> object:
    """Awaited, it comes to nothing."""
    job_id = so.infer(["refuse this"], stay_attached=False)
    return {"results": so.await_job_completion(job_id), "job": _job(job_id)}


def details(_: Given) -> object:
    """Everything a job can be told, and what the deployment says it was told."""
    job_id = so.infer(
        ["a", "b"],
        model="scripted",
        name="n" * 45,
        description="d" * 512,
        system_prompt="Be brief.",
        sampling_params={"temperature": 0.5, "max_tokens": 20},
        random_seed_per_input=True,
        truncate_rows=False,
    )
    return {**_job(job_id), "job_id": job_id}


def dry_run(_: Given) -> object:
    """What it would cost."""
    job_id = so.infer(["one two three", "four"], model="scripted", dry_run=True)
    return {"job": _job(job_id), "results": so.get_job_results(job_id)}


def a_row_that_fails(_: Given) -> object:
    """It is null, and the others are there."""
    return _columns(so.infer(["a", "refuse this", "b"]))


def rows_that_all_fail(_: Given) -> object:
    """The job fails and says why."""
    return so.infer(["refuse this", "refuse that"])


def several_models(_: Given) -> object:
    """One job for each."""
    job_ids = so.infer_per_model(
        ["a"], models=["gpt-oss-20b", "scripted"], names=["x", "y"]
    )
    results = [so.await_job_completion(job_id) for job_id in job_ids]
    return {
        "outputs": [each["inference_result"].to_list() for each in results],
        "names": [_job(job_id)["name"] for job_id in job_ids],
        "models": [_job(job_id)["model"] for job_id in job_ids],
    }


def mistakes(_: Given) -> object:
    """None of them becomes a job."""
    before = len(so.list_jobs())
    refused = [
        so.infer(["a"], model="no-such-model"),
        so.infer([]),
        so.infer(["a"], job_priority=2),
        so.infer([{"query": "standalone models take text"}]),
        so.infer(["a"], sampling_params={"temperatur": 1}),
        so.infer([f"row {number}" for number in range(1001)]),
    ]
    return {"refused": refused, "new_jobs": len(so.list_jobs()) - before}
