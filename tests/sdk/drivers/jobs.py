"""Looking at jobs, cancelling them, coming back to them; keys and quotas."""

from __future__ import annotations

import os
from typing import Any

import sutro as so  # type: ignore[import-not-found]

Given = dict[str, Any]


def listed(_: Given) -> object:
    """Newest first, with everything the SDK's programs look at."""
    first = so.infer(["a"], name="first")
    second = so.infer(["b", "c"], name="second")
    jobs = so.list_jobs()
    return {"ids": [first, second], "jobs": jobs[:2]}


def quotas(_: Given) -> object:
    """By priority."""
    return so.get_quotas()


def keys(given: Given) -> object:
    """A good one, a wrong one, and one that was revoked."""
    return {
        "good": so.try_authentication(os.environ["SUTRO_API_KEY"]),
        "wrong": so.try_authentication("sk_live_wrong"),
        "revoked": so.try_authentication(given["revoked_key"]),
    }


def a_wrong_key(_: Given) -> object:
    """Gets nothing out of any call."""
    nobody = so.Sutro(api_key="sk_live_wrong", api_url=os.environ["SUTRO_API_URL"])
    return [
        nobody.list_jobs(),
        nobody.get_quotas(),
        nobody.infer(["a"]),
        nobody.get_job_status("job-1"),
    ]


def another_account(given: Given) -> object:
    """Does not see the jobs of this one."""
    job_id = so.infer(["a"])
    other = so.Sutro(api_key=given["hasty_key"], api_url=os.environ["SUTRO_API_URL"])
    return {
        "listed": [job["job_id"] for job in other.list_jobs() or []],
        "job_id": job_id,
        "status": other.get_job_status(job_id),
        "results": other.get_job_results(job_id),
        "links": other.results_download_url(job_id),
        "cancelled": other.cancel_job(job_id),
    }


def cancel(_: Given) -> object:
    """A job that runs is over soon after."""
    job_id = so.infer(["hold this", "hold that"], stay_attached=False)
    before = so.get_job_status(job_id)
    answer = so.cancel_job(job_id)
    results = so.await_job_completion(job_id)
    return {
        "before": before,
        "answer": answer,
        "job_id": job_id,
        "results": results,
        "after": so.get_job_status(job_id),
        "again": so.cancel_job(job_id),
        "finally": so.get_job_status(job_id),
    }


def cancel_a_finished_job(_: Given) -> object:
    """Changes nothing."""
    job_id = so.infer(["a"])
    return {"answer": so.cancel_job(job_id), "after": so.get_job_status(job_id)}


def attach(_: Given) -> object:
    """Coming back to a job that runs."""
    job_id = so.infer([f"slow {n}" for n in range(40)], stay_attached=False)
    so.attach(job_id)
    return so.get_job_status(job_id)


def attach_to_a_finished_job(_: Given) -> None:
    """There is nothing to watch."""
    so.attach(so.infer(["a"]))


def attach_to_nobodys_job(_: Given) -> None:
    """An ID that does not exist."""
    so.attach("job-00000000-0000-4000-8000-000000000000")
