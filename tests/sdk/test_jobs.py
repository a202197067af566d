"""Looking at jobs, cancelling them, coming back to them; keys and quotas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)

Value = Callable[[str], Any]
Said = Callable[[str], str]


def test_jobs_are_listed_newest_first(value: Value) -> None:
    """By the IDs they were given."""
    listed = value("listed")
    assert [job["job_id"] for job in listed["jobs"]] == listed["ids"][::-1]


def test_listed_jobs_have_all_fields(value: Value) -> None:
    """Those that the SDK's own programs look at have no nulls."""
    job = value("listed")["jobs"][0]
    assert set(job) >= {
        *("job_id", "status", "model", "system_prompt", "job_priority", "json_schema"),
        *("datetime_created", "datetime_started", "datetime_completed"),
        *("sampling_params", "name", "description", "dataset_id", "num_rows"),
        *("input_tokens", "output_tokens", "job_cost", "cost_estimate"),
        *("failure_reason", "run_type"),
    }
    assert isinstance(job["job_cost"], float)
    assert isinstance(job["input_tokens"], int)
    assert job["failure_reason"] is None


def test_quotas_are_in_the_order_of_priorities(value: Value) -> None:
    """The SDK takes the place for the priority."""
    assert value("quotas") == [
        {"priority": 0, "row_quota": 1000, "token_quota": 1_000_000},
        {"priority": 1, "row_quota": 1_000_000, "token_quota": 10_000_000},
    ]


def test_keys_are_checked(value: Value) -> None:
    """Right, wrong and revoked."""
    keys = value("keys")
    assert keys["good"]["authenticated"] is True
    assert (keys["wrong"], keys["revoked"]) == (None, None)


def test_a_wrong_key_opens_nothing(value: Value, said: Said) -> None:
    """By any call."""
    assert value("a_wrong_key") == [None] * 4
    assert said("a_wrong_key").count("401") == 4


def test_another_accounts_jobs_do_not_exist(value: Value, said: Said) -> None:
    """Neither in lists nor by ID."""
    seen = value("another_account")
    assert seen.pop("job_id") not in seen.pop("listed")
    assert set(seen.values()) == {None}
    assert said("another_account").count("Bad status code: 404") == 3


def test_a_running_job_can_be_cancelled(value: Value) -> None:
    """Soon it is, and stays so."""
    seen = value("cancel")
    assert seen["before"] in {"QUEUED", "STARTING", "RUNNING"}
    assert seen["answer"]["cancelled"] is True
    assert seen["job_id"] in seen["answer"]["message"]
    assert seen["results"] is None
    assert (seen["after"], seen["finally"]) == ("CANCELLED", "CANCELLED")
    assert seen["again"]["cancelled"] is False


def test_a_finished_job_cannot(value: Value) -> None:
    """It stays what it is."""
    seen = value("cancel_a_finished_job")
    assert seen["answer"]["cancelled"] is False
    assert seen["after"] == "SUCCEEDED"


def test_one_can_come_back_to_a_job(value: Value, said: Said) -> None:
    """And sees its progress up to its end."""
    assert value("attach") == "SUCCEEDED"
    told = said("attach")
    assert "Job found!" in told
    assert "40/40" in told
    assert "Job succeeded." in told


def test_a_finished_job_has_no_progress(value: Value, said: Said) -> None:
    """The SDK says where the results are."""
    assert value("attach_to_a_finished_job") is None
    assert "Job already completed." in said("attach_to_a_finished_job")


def test_nobodys_job_has_none_either(value: Value, said: Said) -> None:
    """It is not found."""
    assert value("attach_to_nobodys_job") is None
    assert "not found" in said("attach_to_nobodys_job")
