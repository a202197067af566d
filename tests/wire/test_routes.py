"""The table of routes."""

from __future__ import annotations

from sutro_stream.wire import routes


def test_variable_parts_are_escaped() -> None:
    """A value cannot leave its place in the path."""
    assert routes.JOB.url(job_id="job-1") == "/jobs/job-1"
    assert routes.RUN_FUNCTION.url(name="a/../b?c") == "/functions/a%2F..%2Fb%3Fc/run"


def test_no_two_routes_are_the_same() -> None:
    """Each path and method leads to one place."""
    pairs = [
        (method, route.path) for route in routes.ROUTES for method in route.methods
    ]
    assert len(pairs) == len(set(pairs))


def test_jobs_are_cancelled_by_both_methods() -> None:
    """The SDK sends a GET, older programs a POST."""
    assert set(routes.CANCEL_JOB.methods) == {"GET", "POST"}
