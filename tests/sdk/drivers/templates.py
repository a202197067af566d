"""Ready-made tasks of the SDK."""

from __future__ import annotations

from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import sutro as so  # type: ignore[import-not-found]

Given = dict[str, Any]


def embed(_: Given) -> object:
    """A list of numbers for each text."""
    results = so.embed(["a", "bb", "ccc"])
    return {
        "columns": results.columns,
        "type": str(results["inference_result"].dtype),
        "vectors": results["inference_result"].to_list(),
    }


def embed_a_frame(given: Given) -> object:
    """And its Parquet file, where the vectors are lists as well."""
    frame = pl.DataFrame({"text": ["a", "bb"]})
    job_id = so.infer(
        frame, model="qwen-3-embedding-0.6b", column="text", stay_attached=False
    )
    so.await_job_completion(job_id, obtain_results=False)
    path = so.download_job_results(job_id, f"{given['folder']}/vectors.parquet")
    return pl.read_parquet(path).to_dict(as_series=False)


def score(_: Given) -> object:
    """A number for each text, joined to whatever it came in."""
    polars = so.score(pl.DataFrame({"t": ["a", "b"]}), column="t", criteria="length")
    pandas = so.score(
        pd.DataFrame({"t": ["a", "b"]}), column="t", criteria=["x", "y"], range=(1, 5)
    )
    return {
        "list": so.score(["a", "b"], criteria="length").to_dict(as_series=False),
        "polars": polars.to_dict(as_series=False),
        "pandas": pandas.to_dict("list"),
    }


def classify(_: Given) -> object:
    """A class for each text, and the thoughts before it."""
    results = so.classify(
        ["a", "b"], classes={"one": "first", "two": "second"}, include_scratchpad=True
    )
    return results.to_dict(as_series=False)
