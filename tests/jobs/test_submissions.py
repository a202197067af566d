"""Submissions with a key: taken in once, whatever is sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from sutro_stream.jobs.database import Database
from sutro_stream.jobs.submissions import (
    Reservation,
    ReservationKind,
    SubmissionState,
    SubmissionStatus,
    SubmissionStore,
)

if TYPE_CHECKING:
    from tests.jobs.conftest import HandClock

KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"
LEASE_S = 60.0


@pytest.fixture
def submissions(database: Database, clock: HandClock) -> SubmissionStore:
    """No submissions yet."""
    return SubmissionStore(database, lease_s=LEASE_S, clock=clock)


def test_the_first_is_new(submissions: SubmissionStore) -> None:
    """Whoever comes first takes it in."""
    reservation = submissions.reserve("alice", KEY, "digest")
    assert reservation.kind is ReservationKind.NEW
    assert submissions.status("alice", KEY) == SubmissionStatus(
        key=KEY, state=SubmissionState.INGESTING, retryable=False
    )


def test_an_accepted_one_is_answered_again(submissions: SubmissionStore) -> None:
    """The same body gets the same job."""
    reservation = submissions.reserve("alice", KEY, "digest")
    assert submissions.accept(reservation, "job-1")
    assert submissions.reserve("alice", KEY, "digest") == Reservation(
        kind=ReservationKind.REPLAY, account="alice", key=KEY, job_id="job-1"
    )
    assert submissions.status("alice", KEY) == SubmissionStatus(
        key=KEY, state=SubmissionState.ACCEPTED, retryable=False, job_id="job-1"
    )


def test_another_body_is_a_conflict(submissions: SubmissionStore) -> None:
    """Before and after the first was accepted."""
    reservation = submissions.reserve("alice", KEY, "digest")
    before = submissions.reserve("alice", KEY, "other")
    submissions.accept(reservation, "job-1")
    after = submissions.reserve("alice", KEY, "other")
    assert before.kind is after.kind is ReservationKind.CONFLICT
    assert after.job_id is None


def test_the_same_at_the_same_time_waits(submissions: SubmissionStore) -> None:
    """One of them takes it in."""
    submissions.reserve("alice", KEY, "digest")
    second = submissions.reserve("alice", KEY, "digest")
    assert second.kind is ReservationKind.IN_PROGRESS


def test_keys_belong_to_accounts(submissions: SubmissionStore) -> None:
    """The same key of somebody else is another one."""
    reservation = submissions.reserve("alice", KEY, "digest")
    submissions.accept(reservation, "job-1")
    assert submissions.status("bob", KEY) is None
    assert submissions.reserve("bob", KEY, "other").kind is ReservationKind.NEW


def test_a_stuck_one_can_be_tried_again(
    submissions: SubmissionStore, clock: HandClock
) -> None:
    """When the lease has run out, by anybody, and the first can do nothing more."""
    first = submissions.reserve("alice", KEY, "digest")
    clock.advance(LEASE_S)
    assert submissions.status("alice", KEY) == SubmissionStatus(
        key=KEY, state=SubmissionState.INGESTING, retryable=True
    )
    second = submissions.reserve("alice", KEY, "digest")
    assert second.kind is ReservationKind.NEW
    assert not submissions.renew(first)
    assert not submissions.fail(first, "no")
    assert not submissions.accept(first, "job-1")
    assert submissions.accept(second, "job-2")


def test_a_lease_can_be_made_longer(
    submissions: SubmissionStore, clock: HandClock
) -> None:
    """For a body that takes its time."""
    reservation = submissions.reserve("alice", KEY, "digest")
    clock.advance(LEASE_S - 1)
    assert submissions.renew(reservation)
    clock.advance(LEASE_S - 1)
    second = submissions.reserve("alice", KEY, "digest")
    assert second.kind is ReservationKind.IN_PROGRESS


def test_a_restart_ends_all_leases(submissions: SubmissionStore) -> None:
    """Nobody is at it any more; what was accepted stays so."""
    submissions.reserve("alice", KEY, "digest")
    accepted = submissions.reserve("bob", KEY, "digest")
    submissions.accept(accepted, "job-1")
    assert submissions.end_leases() == 1
    status = submissions.status("alice", KEY)
    assert status is not None
    assert status.retryable
    assert submissions.reserve("bob", KEY, "digest").job_id == "job-1"


@pytest.mark.parametrize(
    ("retryable", "state"),
    [(False, SubmissionState.FAILED), (True, SubmissionState.RETRYABLE)],
)
def test_a_failed_one_tells_why(
    submissions: SubmissionStore, *, retryable: bool, state: SubmissionState
) -> None:
    """And whether the same may succeed later."""
    reservation = submissions.reserve("alice", KEY, "digest")
    assert submissions.fail(reservation, "name: too long", retryable=retryable)
    assert submissions.status("alice", KEY) == SubmissionStatus(
        key=KEY, state=state, retryable=retryable, detail="name: too long"
    )


def test_after_a_failure_the_key_is_free(submissions: SubmissionStore) -> None:
    """No job was made, so another body is no conflict."""
    reservation = submissions.reserve("alice", KEY, "digest")
    submissions.fail(reservation, "name: too long")
    assert submissions.reserve("alice", KEY, "other").kind is ReservationKind.NEW
    assert submissions.status("alice", KEY) == SubmissionStatus(
        key=KEY, state=SubmissionState.INGESTING, retryable=False
    )


def test_an_unknown_one_is_not_there(submissions: SubmissionStore) -> None:
    """There is nothing to tell."""
    assert submissions.status("alice", KEY) is None


def test_old_ones_are_forgotten(submissions: SubmissionStore, clock: HandClock) -> None:
    """By when they were begun."""
    submissions.reserve("alice", KEY, "digest")
    clock.advance(1)
    submissions.reserve("bob", KEY, "digest")
    assert submissions.forget_before(clock.now) == 1
    assert submissions.status("alice", KEY) is None
    assert submissions.status("bob", KEY) is not None


async def test_of_many_at_once_one_is_new(submissions: SubmissionStore) -> None:
    """All others wait."""
    found: list[ReservationKind] = []

    def reserve() -> None:
        found.append(submissions.reserve("alice", KEY, "digest").kind)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(anyio.to_thread.run_sync, reserve)
    assert sorted(found) == [ReservationKind.IN_PROGRESS] * 9 + [ReservationKind.NEW]
