"""Which job is next."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.jobs.queue import JobQueue
from sutro_stream.values.job import InputKind, Job, JobInput, JobSpec, JobState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def job(name: str, *, account: str = "alice", priority: int = 1) -> Job:
    """A queued job."""
    spec = JobSpec(
        account=account,
        model="m",
        input=JobInput(kind=InputKind.ROWS),
        priority=priority,
    )
    return Job(job_id=name, spec=spec, state=JobState.QUEUED, created_at=NOON)


def queue(places: int, *jobs: Job) -> JobQueue:
    """A queue that these wait in."""
    made = JobQueue(places)
    for one in jobs:
        made.add(one)
    return made


def taken(jobs: JobQueue) -> list[str]:
    """Everyone whose turn it is now."""
    found = []
    while (name := jobs.take()) is not None:
        found.append(name)
    return found


def test_who_came_first_is_first() -> None:
    """Among equals."""
    assert taken(queue(3, job("a"), job("b"))) == ["a", "b"]


def test_prototypes_go_before_production() -> None:
    """They are small, and somebody waits for them."""
    jobs = queue(9, job("big"), job("small", priority=0))

    assert taken(jobs) == ["small", "big"]


def test_one_place_is_kept_for_prototypes() -> None:
    """Production may take hours."""
    jobs = queue(3, job("a"), job("b"), job("c"))

    assert taken(jobs) == ["a", "b"]
    jobs.add(job("small", priority=0))
    assert taken(jobs) == ["small"]


def test_a_single_place_is_for_everyone() -> None:
    """Kept free, it would never be used by production."""
    assert taken(queue(1, job("a"))) == ["a"]


def test_accounts_take_turns() -> None:
    """Whoever has fewest jobs running is next."""
    jobs = queue(
        4,
        job("a1"),
        job("a2"),
        job("a3"),
        job("b1", account="bob"),
        job("b2", account="bob"),
    )

    assert taken(jobs) == ["a1", "b1", "a2"]


def test_a_place_is_free_again_when_its_job_has_ended() -> None:
    """The next one takes it."""
    jobs = queue(1, job("a"), job("b"))

    assert taken(jobs) == ["a"]
    jobs.ended("a")
    assert taken(jobs) == ["b"]


def test_a_withdrawn_job_is_never_taken() -> None:
    """One that runs cannot be withdrawn."""
    jobs = queue(2, job("a"), job("b"))
    jobs.take()

    assert (jobs.withdraw("a"), jobs.withdraw("b")) == (False, True)
    assert taken(jobs) == []


@given(
    places=st.integers(1, 4),
    wanted=st.lists(
        st.tuples(st.sampled_from(["alice", "bob"]), st.integers(0, 1)), max_size=20
    ),
)
def test_every_job_has_its_turn_and_never_too_many_at_once(
    places: int, wanted: list[tuple[str, int]]
) -> None:
    """Whatever comes in, as long as running jobs end."""
    jobs = queue(
        places,
        *[
            job(f"j{number}", account=account, priority=priority)
            for number, (account, priority) in enumerate(wanted)
        ],
    )
    seen: list[str] = []
    while jobs.waiting:
        now = taken(jobs)
        assert 0 < len(now) <= places
        seen += now
        for name in now:
            jobs.ended(name)

    assert sorted(seen) == sorted(f"j{number}" for number in range(len(wanted)))
