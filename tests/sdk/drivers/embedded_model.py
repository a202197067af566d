"""The SDK on a deployment as it comes: a small model, inside."""

from __future__ import annotations

import os
from typing import Any

import sutro as so  # type: ignore[import-not-found]

Given = dict[str, Any]
SHORT = {"max_tokens": 12}


def first_program(_: Given) -> object:
    """Attached, with the default model."""
    job_id = so.infer(
        ["What is the capital of France?", "Name a colour.", "Say hello."],
        sampling_params=SHORT,
    )
    results = so.get_job_results(job_id, include_cumulative_logprobs=True)
    job = next(job for job in so.list_jobs() if job["job_id"] == job_id)
    return {"results": results.to_dict(as_series=False), "job": job}


def structured(_: Given) -> object:
    """The schema holds, however small the model is."""
    schema = {
        "type": "object",
        "properties": {"mood": {"enum": ["positive", "negative"]}},
        "required": ["mood"],
    }
    job_id = so.infer(["I love it.", "It broke at once."], output_schema=schema)
    return so.get_job_results(job_id).to_dict(as_series=False)


def too_long(_: Given) -> object:
    """Cut to fit, or null where that is not wanted."""
    rows = ["word " * 20_000, "Say hello."]
    # However it likes the text, the model has to use the room left for its answer.
    whole = {**SHORT, "ignore_eos": True}
    return [
        so.get_job_results(
            so.infer(rows, truncate_rows=truncate, sampling_params=whole)
        )["inference_result"].to_list()
        for truncate in (True, False)
    ]


def dry_run(_: Given) -> object:
    """With tokens as the model counts them."""
    job_id = so.infer(["one two three"] * 3, dry_run=True)
    return next(job for job in so.list_jobs() if job["job_id"] == job_id)


def custom_model(_: Given) -> object:
    """Rows with the fields that it declares."""
    rows = [{"review": "I love it."}, {"review": "It broke at once."}]
    job_id = so.infer(rows, model="sentiment", stay_attached=False)
    so.await_job_completion(job_id, obtain_results=False)
    results = so.get_job_results(job_id, include_inputs=True)
    return results.to_dict(as_series=False)


def embed(_: Given) -> object:
    """Vectors from the same file."""
    vectors = so.embed(["a cat", "a dog", "a cat"])["inference_result"]
    return {"type": str(vectors.dtype), "vectors": vectors.to_list()}


def readme(given: Given) -> None:
    """The program of the README, with address and key changed and no more."""
    program = str(given["readme_program"])
    for shown, meant in (
        ("http://127.0.0.1:8642", os.environ["SUTRO_API_URL"]),
        ("sk_live_...", os.environ["SUTRO_API_KEY"]),
    ):
        assert program.count(shown) == 1
        program = program.replace(shown, meant)
    exec(program, {})  # noqa: S102 - what it does is the question
