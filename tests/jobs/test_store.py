"""Jobs kept durably, and the steps they may take."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sutro_stream.errors import StoreDamagedError
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.store import JobStore, JobTotals
from sutro_stream.jobs.submissions import SubmissionState, SubmissionStore
from sutro_stream.values.job import InputKind, Job, JobInput, JobState, RunType
from sutro_stream.wire.cursor import Cursor

if TYPE_CHECKING:
    from tests.jobs.conftest import HandClock

ADDRESS = JobInput(kind=InputKind.URL, reference="https://host/a.csv?key=SECRET")
KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def store(database: Database, clock: HandClock) -> JobStore:
    """No jobs yet."""
    return JobStore(database, clock=clock)


@pytest.fixture
def kept(store: JobStore, new_job: Callable[..., Job]) -> Callable[..., Job]:
    """Puts a job into the store and brings it to a state."""

    def keep(state: JobState = JobState.QUEUED, account: str = "alice") -> Job:
        job = new_job(account, source=ADDRESS)
        assert store.add(job)
        bring(store, job.job_id, state)
        return job

    return keep


def bring(store: JobStore, job_id: str, state: JobState) -> None:
    """Take the steps to a state."""
    steps: dict[JobState, list[Callable[[], object]]] = {
        JobState.QUEUED: [],
        JobState.STARTING: [lambda: store.started(job_id)],
        JobState.RUNNING: [
            lambda: store.started(job_id),
            lambda: store.running(job_id),
        ],
        JobState.CANCELLING: [lambda: store.cancelling(job_id)],
        JobState.SUCCEEDED: [
            lambda: store.started(job_id),
            lambda: store.succeeded(job_id, JobTotals()),
        ],
        JobState.FAILED: [lambda: store.failed(job_id, "because")],
        JobState.CANCELLED: [
            lambda: store.cancelling(job_id),
            lambda: store.cancelled(job_id),
        ],
    }
    for step in steps[state]:
        assert step()


def state_of(store: JobStore, job: Job) -> JobState:
    """Where a job stands."""
    found = store.get(job.job_id)
    assert found is not None
    return found.state


def test_a_job_comes_back_as_it_was(
    store: JobStore, new_job: Callable[..., Job]
) -> None:
    """Every field, also after a restart."""
    job = new_job(
        source=ADDRESS,
        function="lead-qualifier",
        revision=7,
        priority=1,
        run_type=RunType.ESTIMATE,
        column="prompt",
        id_column="id",
        system_prompt="Sort. \U0001f600 \0",
        json_schema={"type": "object", "properties": {"a": {"enum": [1, 1.5, None]}}},
        sampling_params={"temperature": 0.0, "stop": ["x"]},
        seed_per_row=True,
        truncate_rows=True,
        name="n" * 45,
        description="d",
    )
    job = replace(job, rows=3, answered_by="other")
    store.add(job)
    assert store.get(job.job_id) == job


def test_a_job_survives_a_restart(
    store: JobStore, database: Database, new_job: Callable[..., Job]
) -> None:
    """It is on disk when `add` returns."""
    job = new_job()
    store.add(job)
    with Database(database.path) as other:
        assert JobStore(other).get(job.job_id) == job


def test_a_dataset_stays_known(store: JobStore, new_job: Callable[..., Job]) -> None:
    """Its ID is no secret and outlives the run."""
    source = JobInput(kind=InputKind.DATASET, reference="dataset-1")
    job = new_job(source=source)
    store.add(job)
    bring(store, job.job_id, JobState.SUCCEEDED)
    found = store.get(job.job_id)
    assert found is not None
    assert found.spec.input == source


@pytest.mark.parametrize(
    "state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]
)
def test_an_address_is_forgotten_when_the_job_has_ended(
    store: JobStore, kept: Callable[..., Job], state: JobState
) -> None:
    """It is a secret and nothing needs it any more."""
    job = kept()
    before = store.get(job.job_id)
    assert before is not None
    assert before.spec.input == ADDRESS
    bring(store, job.job_id, state)
    after = store.get(job.job_id)
    assert after is not None
    assert after.spec.input == JobInput(kind=InputKind.URL)


def test_an_unfinished_address_is_kept_in_one_place(
    store: JobStore, database: Database, kept: Callable[..., Job]
) -> None:
    """The other columns do not hold it."""
    kept()
    with database.read() as connection:
        row = connection.execute("SELECT * FROM jobs").fetchone()
    holding = [name for name in row.keys() if "SECRET" in str(row[name])]  # noqa: SIM118
    assert holding == ["address"]
    assert store.unfinished()[0].spec.input == ADDRESS


def test_a_job_of_another_account_is_not_there(
    store: JobStore, kept: Callable[..., Job]
) -> None:
    """Neither to be seen nor to be cancelled."""
    job = kept()
    assert store.get(job.job_id, account="alice") is not None
    assert store.get(job.job_id, account="bob") is None
    assert store.cancelling(job.job_id, account="bob") is None
    assert state_of(store, job) is JobState.QUEUED


@pytest.mark.parametrize("job_id", ["", "None", "job-\0", "' OR 1 --"])
def test_an_unknown_job_is_not_there(store: JobStore, job_id: str) -> None:
    """Whatever it is called."""
    assert store.get(job_id) is None
    assert store.cancelling(job_id) is None
    assert not store.started(job_id)
    assert not store.remove(job_id)


def test_a_job_goes_its_way(
    store: JobStore, clock: HandClock, kept: Callable[..., Job]
) -> None:
    """States, times and counts are noted at each step."""
    job = kept()
    clock.advance(10)
    started_at = clock.now
    assert store.started(job.job_id)
    assert store.running(job.job_id)
    assert store.running(job.job_id, rows=3)
    clock.advance(10)
    totals = JobTotals(
        rows=3,
        failed_rows=1,
        input_tokens=30,
        output_tokens=20,
        cost_usd=0.25,
        answered_by="other",
        note="on a sample",
    )
    assert store.succeeded(job.job_id, totals)
    assert store.get(job.job_id) == replace(
        job,
        spec=replace(job.spec, input=JobInput(kind=InputKind.URL)),
        state=JobState.SUCCEEDED,
        started_at=started_at,
        completed_at=clock.now,
        rows=3,
        failed_rows=1,
        input_tokens=30,
        output_tokens=20,
        cost_usd=0.25,
        answered_by="other",
        note="on a sample",
    )


def test_a_restart_does_not_change_when_work_began(
    store: JobStore, clock: HandClock, kept: Callable[..., Job]
) -> None:
    """A job that was running starts anew, with its first date and its rows."""
    job = kept()
    began_at = clock.now
    store.started(job.job_id)
    store.running(job.job_id, rows=3)
    clock.advance(100)
    assert store.started(job.job_id)
    found = store.get(job.job_id)
    assert found is not None
    assert (found.state, found.started_at, found.rows) == (
        JobState.STARTING,
        began_at,
        3,
    )


def test_a_failure_has_its_reason(store: JobStore, kept: Callable[..., Job]) -> None:
    """And what the job came to."""
    job = kept(JobState.RUNNING)
    assert store.failed(job.job_id, "all rows failed", totals=JobTotals(failed_rows=3))
    found = store.get(job.job_id)
    assert found is not None
    assert (found.failure, found.failed_rows) == ("all rows failed", 3)


@pytest.mark.parametrize("state", list(JobState))
def test_only_legal_steps_happen(
    store: JobStore, kept: Callable[..., Job], state: JobState
) -> None:
    """Each step from each state: it happens, or nothing changes."""
    legal = {
        JobState.QUEUED: {"started", "failed", "cancelling"},
        JobState.STARTING: {"started", "running", "succeeded", "failed", "cancelling"},
        JobState.RUNNING: {"started", "running", "succeeded", "failed", "cancelling"},
        JobState.CANCELLING: {"cancelling", "cancelled"},
    }
    steps: dict[str, Callable[[str], bool]] = {
        "started": store.started,
        "running": store.running,
        "succeeded": lambda job_id: store.succeeded(job_id, JobTotals()),
        "failed": lambda job_id: store.failed(job_id, "no"),
        "cancelled": store.cancelled,
    }
    for name, step in steps.items():
        job = kept(state)
        before = store.get(job.job_id)
        assert step(job.job_id) == (name in legal.get(state, set())), name
        if name not in legal.get(state, set()):
            assert store.get(job.job_id) == before


@pytest.mark.parametrize("state", list(JobState))
def test_cancelling_tells_where_the_job_stands(
    store: JobStore, kept: Callable[..., Job], state: JobState
) -> None:
    """One that has ended stays as it is."""
    job = kept(state)
    found = store.cancelling(job.job_id, account="alice")
    assert found is not None
    expected = state if state.is_final else JobState.CANCELLING
    assert found.state is expected
    assert state_of(store, job) is expected


def test_one_end_wins(store: JobStore, kept: Callable[..., Job]) -> None:
    """Of a success and a cancellation at once, both sides hear the same."""
    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            job = kept(JobState.RUNNING)
            success = threads.submit(store.succeeded, job.job_id, JobTotals())
            cancellation = threads.submit(store.cancelling, job.job_id)
            found = cancellation.result()
            assert found is not None
            assert success.result() == found.state.is_final
            assert state_of(store, job) is found.state


def test_jobs_are_listed_newest_first(
    store: JobStore, kept: Callable[..., Job]
) -> None:
    """Those of the account only."""
    ids = [kept().job_id for _ in range(3)]
    kept(account="bob")
    assert [job.job_id for job in store.list("alice")] == ids[::-1]
    assert store.list("nobody") == []


def test_a_page_goes_on_where_the_last_one_ended(
    store: JobStore, kept: Callable[..., Job]
) -> None:
    """New jobs in between do not shift it."""
    ids = [kept().job_id for _ in range(5)]
    page = store.list("alice", limit=2)
    kept()
    last = page[-1]
    rest = store.list(
        "alice",
        limit=10,
        before=Cursor(created_at=last.created_at, job_id=last.job_id),
    )
    assert [job.job_id for job in [*page, *rest]] == ids[::-1]


def test_jobs_of_one_instant_are_all_listed(
    store: JobStore, clock: HandClock, new_job: Callable[..., Job]
) -> None:
    """Pages of one job each meet every one, the youngest first."""
    jobs = [new_job(created_at=clock.now) for _ in range(4)]
    for job in jobs:
        store.add(job)
    seen = []
    before = None
    while page := store.list("alice", limit=1, before=before):
        seen.append(page[0].job_id)
        before = Cursor(created_at=page[0].created_at, job_id=page[0].job_id)
    assert seen == [job.job_id for job in reversed(jobs)]


def test_a_page_can_begin_after_a_job_that_is_gone(
    store: JobStore, kept: Callable[..., Job]
) -> None:
    """Retention may come between two pages."""
    older = kept()
    gone = kept(JobState.FAILED)
    assert store.remove(gone.job_id)
    cursor = Cursor(created_at=gone.created_at, job_id=gone.job_id)
    listed = store.list("alice", before=cursor)
    assert [job.job_id for job in listed] == [older.job_id]


def test_unfinished_jobs_are_found_oldest_first(
    store: JobStore, kept: Callable[..., Job]
) -> None:
    """Of all accounts, in every state that is not final."""
    jobs = [kept(state) for state in JobState if not state.is_final]
    jobs.append(kept(account="bob"))
    for state in JobState:
        if state.is_final:
            kept(state)
    assert [job.job_id for job in store.unfinished()] == [job.job_id for job in jobs]


def test_old_jobs_are_found(
    store: JobStore, clock: HandClock, kept: Callable[..., Job]
) -> None:
    """By when they ended; those that go on are left out."""
    old = kept(JobState.SUCCEEDED)
    kept(JobState.RUNNING)
    clock.advance(100)
    kept(JobState.SUCCEEDED)
    found = store.finished_before(clock.now - timedelta(seconds=50))
    assert [job.job_id for job in found] == [old.job_id]


def test_a_removed_job_leaves_its_id(store: JobStore, kept: Callable[..., Job]) -> None:
    """So that its owner can be told what happened, and nobody else."""
    job = kept(JobState.SUCCEEDED)
    assert store.remove(job.job_id)
    assert store.get(job.job_id) is None
    assert store.was_removed(job.job_id, account="alice")
    assert not store.was_removed(job.job_id, account="bob")
    assert not store.was_removed("job-other", account="alice")


@pytest.mark.parametrize("state", [state for state in JobState if not state.is_final])
def test_a_job_that_goes_on_is_not_removed(
    store: JobStore, kept: Callable[..., Job], state: JobState
) -> None:
    """It has to end first."""
    job = kept(state)
    assert not store.remove(job.job_id)
    assert store.get(job.job_id) is not None


def test_a_job_and_its_submission_are_kept_together(
    store: JobStore, database: Database, new_job: Callable[..., Job]
) -> None:
    """After `add`, the key stands for the job."""
    submissions = SubmissionStore(database)
    reservation = submissions.reserve("alice", KEY, "digest")
    job = new_job()
    assert store.add(job, reservation=reservation)
    status = submissions.status("alice", KEY)
    assert status is not None
    assert (status.state, status.job_id) == (SubmissionState.ACCEPTED, job.job_id)


def test_a_lost_submission_makes_no_job(
    store: JobStore, database: Database, clock: HandClock, new_job: Callable[..., Job]
) -> None:
    """When another attempt took over, only that one may make the job."""
    submissions = SubmissionStore(database, lease_s=10, clock=clock)
    slow = submissions.reserve("alice", KEY, "digest")
    clock.advance(11)
    second = submissions.reserve("alice", KEY, "digest")
    first_job, second_job = new_job(), new_job()
    assert not store.add(first_job, reservation=slow)
    assert store.add(second_job, reservation=second)
    assert store.get(first_job.job_id) is None
    assert store.get(second_job.job_id) == second_job


def test_a_record_that_was_changed_is_told(
    store: JobStore, database: Database, kept: Callable[..., Job]
) -> None:
    """The message names the job."""
    job = kept()
    with database.write() as connection:
        connection.execute("UPDATE jobs SET spec = '{}'")
    with pytest.raises(
        StoreDamagedError, match=f"record of job {job.job_id} is damaged"
    ):
        store.get(job.job_id)
