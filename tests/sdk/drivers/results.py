"""Results in every form, for jobs that end before anything is asked."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import sutro as so  # type: ignore[import-not-found]

Given = dict[str, Any]
# Of the SDK's environment; in ours it may be missing.
requests: Any = import_module("requests")
ROWS = ["alpha beta", "gamma", "delta epsilon zeta"]
CACHE = Path("~/.sutro/job-results")


def _frame(job_id: str, **options: Any) -> dict[str, list[Any]]:
    results = so.get_job_results(job_id, **options)
    return dict(results.to_dict(as_series=False))


def _finished(**options: Any) -> str:
    job_id = so.infer(ROWS, stay_attached=False, **options)
    so.await_job_completion(job_id, obtain_results=False)
    return str(job_id)


def flags(_: Given) -> object:
    """Each optional column, alone and with the other, past the SDK's cache."""
    job_id = _finished(model="scripted-logprobs")
    return {
        f"{inputs:d}{logprobs:d}": _frame(
            job_id,
            include_inputs=inputs,
            include_cumulative_logprobs=logprobs,
            disable_cache=True,
        )
        for inputs in (False, True)
        for logprobs in (False, True)
    }


def logprobs_of_a_model_without(_: Given) -> object:
    """Asked for, they cannot be had."""
    return _frame(_finished(), include_cumulative_logprobs=True)


def joined_to_frames(_: Given) -> object:
    """With polars and with pandas."""
    job_id = _finished()
    polars = pl.DataFrame({"text": ROWS})
    pandas = pd.DataFrame({"text": ROWS}, index=["i", "j", "k"])
    joined = so.get_job_results(job_id, with_original_df=pandas, output_column="out")
    return {
        "polars": _frame(job_id, with_original_df=polars, output_column="out"),
        "pandas": joined.to_dict("list"),
        "index": list(joined.index),
    }


def the_cache(_: Given) -> object:
    """The second time, the SDK asks nobody."""
    job_id = _finished()
    files = [
        len(list(CACHE.expanduser().glob("*"))) if CACHE.expanduser().exists() else 0
    ]
    first = _frame(job_id)
    second = _frame(job_id)
    files.append(len(list(CACHE.expanduser().glob("*"))))
    return {"same": first == second, "new_files": files[1] - files[0]}


def structured(_: Given) -> object:
    """Fields as columns, or the text as it came."""
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["good", "bad"]}},
        "required": ["label"],
    }
    job_id = _finished(output_schema=schema)
    return {
        "unpacked": _frame(job_id),
        "raw": _frame(job_id, unpack_json=False),
    }


def reasoning(_: Given) -> object:
    """The thinking beside the answer, with and without a schema."""
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["good", "bad"]}},
        "required": ["label"],
    }
    free = _finished(model="gpt-oss-120b")
    bound = _finished(model="gpt-oss-120b", output_schema=schema)
    return {
        "free": _frame(free),
        "bound": _frame(bound),
        "unwrapped": _frame(bound, unwrap_reasoning=True),
    }


def download_links(_: Given) -> object:
    """Whoever holds them can read, and nobody else."""
    payload = so.results_download_url(
        _finished(), include_inputs=True, expires_in_seconds=60
    )
    urls = payload["urls"]
    whole = requests.get(urls["get"], timeout=10)
    head = requests.head(urls["head"], timeout=10)
    part = requests.get(urls["get"], headers={"Range": "bytes=4-9"}, timeout=10)
    beyond = requests.get(urls["get"], headers={"Range": "bytes=9999999-"}, timeout=10)
    wrong = requests.get(urls["get"] + "0", timeout=10)
    return {
        "payload": payload,
        "whole": whole.status_code,
        "size": len(whole.content),
        "length": int(head.headers["Content-Length"]),
        "etags": [head.headers["ETag"], whole.headers["ETag"], part.headers["ETag"]],
        "encoded": whole.headers.get("Content-Encoding"),
        "part": [part.status_code, part.content == whole.content[4:10],
                 part.headers["Content-Range"]],
        "beyond": [beyond.status_code, beyond.headers.get("Content-Range")],
        "wrong": [wrong.status_code, sorted(wrong.json())],
    }  # fmt: skip


def downloads(given: Given) -> object:
    """Into a folder and to a path."""
    job_id = _finished()
    folder = Path(given["folder"], "downloads")
    folder.mkdir()
    into = so.download_job_results(job_id, str(folder))
    to = so.download_job_results(
        job_id, str(folder / "mine.parquet"), include_inputs=True
    )
    return {
        "name": Path(into).name,
        "job_id": job_id,
        "into": pl.read_parquet(into).to_dict(as_series=False),
        "to": pl.read_parquet(to).to_dict(as_series=False),
        "left": sorted(path.name for path in folder.iterdir()),
    }


def a_resumed_download(given: Given) -> object:
    """What is there already is not fetched again."""
    job_id = _finished()
    folder = Path(given["folder"], "resumed")
    whole = Path(so.download_job_results(job_id, str(folder / "whole.parquet")))
    urls = so.results_download_url(job_id)["urls"]
    etag = requests.head(urls["head"], timeout=10).headers["ETag"]
    # The bytes already there are other ones, to tell them from fetched ones.
    part = folder / "part.parquet"
    start = b"\0" * 100
    Path(f"{part}.part").write_bytes(start)
    Path(f"{part}.part.etag").write_text(etag)
    so.download_job_results(job_id, str(part))
    return {"resumed": part.read_bytes() == start + whole.read_bytes()[100:]}


def a_resumed_download_of_another_file(given: Given) -> object:
    """A part of something else is thrown away."""
    job_id = _finished()
    folder = Path(given["folder"], "stale")
    whole = Path(so.download_job_results(job_id, str(folder / "whole.parquet")))
    part = folder / "part.parquet"
    Path(f"{part}.part").write_bytes(b"\0" * 100)
    Path(f"{part}.part.etag").write_text('"another"')
    so.download_job_results(job_id, str(part))
    return {"whole": part.read_bytes() == whole.read_bytes()}


def before_the_end(_: Given) -> object:
    """There are no results of a job that runs."""
    job_id = so.infer(["hold this"], stay_attached=False)
    answers = {
        "results": so.get_job_results(job_id),
        "links": so.results_download_url(job_id),
        "download": so.download_job_results(job_id),
    }
    so.cancel_job(job_id)
    return answers


def of_nobodys_job(_: Given) -> object:
    """An ID that does not exist."""
    job_id = "job-00000000-0000-4000-8000-000000000000"
    return {
        "results": so.get_job_results(job_id),
        "links": so.results_download_url(job_id),
        "status": so.get_job_status(job_id),
        "awaited": so.await_job_completion(job_id),
        "cancelled": so.cancel_job(job_id),
    }
