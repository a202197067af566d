"""The SDK's command line, its commands called in this process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import sutro as so  # type: ignore[import-not-found]
from click.testing import CliRunner
from sutro.cli import cli  # type: ignore[import-not-found]

Given = dict[str, Any]


def _called(*arguments: str, **options: Any) -> dict[str, Any]:
    """Exit code and output of a command."""
    wide = {"POLARS_TABLE_WIDTH": "10000"}
    result = CliRunner(env=wide).invoke(cli, arguments, **options)
    return {"code": result.exit_code, "said": result.output}


def finished_job(_: Given) -> object:
    """All that can be done with one."""
    job_id = so.infer(["a", "b"], stay_attached=False)
    so.await_job_completion(job_id, obtain_results=False)
    commands = {
        "status": _called("jobs", "status", job_id),
        "results": _called("jobs", "results", job_id, "--include-inputs"),
        "save": _called("jobs", "results", job_id, "--save"),
        "csv": _called("jobs", "results", job_id, "--save", "--save-format", "csv"),
        "attach": _called("jobs", "attach", job_id),
        "latest": _called("jobs", "attach", "--latest"),
        "list": _called("jobs", "list", "--all"),
    }
    return {
        "job_id": job_id,
        "commands": commands,
        "saved": pl.read_parquet(f"{job_id}.parquet").to_dict(as_series=False),
        "saved_csv": pl.read_csv(f"{job_id}.csv").to_dict(as_series=False),
    }


def cancelled_job(_: Given) -> object:
    """Cancelled from the command line."""
    job_id = so.infer(["hold this"], stay_attached=False)
    command = _called("jobs", "cancel", job_id)
    so.await_job_completion(job_id)
    return {"command": command, "status": so.get_job_status(job_id)}


def quotas(_: Given) -> object:
    """As a list."""
    return _called("quotas")


def function_run(_: Given) -> object:
    """As JSON, or as one line that says what is wrong."""
    row = json.dumps({"query": "a quote", "region": "EMEA"})
    return {
        "good": _called("functions", "run", "lead-qualifier", "--input", row),
        "bad": _called("functions", "run", "lead-qualifier", "--input", "{}"),
    }


def login(_: Given) -> object:
    """Address and key, checked and kept."""
    url, key = os.environ["SUTRO_API_URL"], os.environ["SUTRO_API_KEY"]
    wrong = _called("login", input=f"{url}\nsk_live_wrong\n")
    right = _called("login", input=f"{url}\n{key}\n")
    kept = json.loads(Path("~/.sutro/config.json").expanduser().read_text())
    return {
        "wrong": wrong["code"],
        "right": right["code"],
        "kept": kept == {"api_url": f"{url}/v1", "api_key": key},
    }
