"""The SDK's command line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)

Value = Callable[[str], Any]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("status", ["SUCCEEDED"]),
        ("results", ["echo: a", "inputs"]),
        ("save", ["Results saved"]),
        ("csv", ["Results saved"]),
        ("attach", ["already completed"]),
        ("latest", ["Attaching to latest job: job-"]),
        ("list", ["job_id", "SUCCEEDED", "$0.0000"]),
    ],
)
def test_commands_about_a_job(value: Value, command: str, words: list[str]) -> None:
    """Each does its work and says so."""
    result = value("finished_job")["commands"][command]
    assert (result["code"], [w for w in words if w not in result["said"]]) == (0, [])


def test_results_are_saved(value: Value) -> None:
    """As Parquet and as CSV."""
    job = value("finished_job")
    answers = {"inference_result": ["echo: a", "echo: b"]}
    assert job["saved_csv"] == answers
    assert job["saved"]["inference_result"] == answers["inference_result"]


def test_a_job_is_cancelled(value: Value) -> None:
    """While it runs."""
    job = value("cancelled_job")
    assert job["command"]["code"] == 0
    assert "Job cancelled successfully." in job["command"]["said"]
    assert job["status"] == "CANCELLED"


def test_quotas_are_shown(value: Value) -> None:
    """By priority."""
    result = value("quotas")
    assert result["code"] == 0
    assert "Job Priority: 1\n\tRow Quota (Maximum): 1000000" in result["said"]


def test_a_function_is_run(value: Value) -> None:
    """On one input; a mistake is told in one line."""
    runs = value("function_run")
    assert runs["good"]["code"] == 0
    assert '"label": "qualified"' in runs["good"]["said"]
    assert runs["bad"]["code"] == 1
    assert "query" in runs["bad"]["said"]


def test_one_can_log_in(value: Value) -> None:
    """With the right key only."""
    assert value("login") == {"wrong": 1, "right": 0, "kept": True}


def test_it_is_a_program(sdk_python: Path, program: dict[str, str]) -> None:
    """As installed, in a process of its own."""
    result = subprocess.run(
        [sdk_python.with_name("sutro"), "quotas"],
        env=program,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "Row Quota (Maximum): 1000\n" in result.stdout
