"""The list of jobs that are out survives whatever happens to its process."""

from __future__ import annotations

from pathlib import Path

import pytest

from sutro_stream.deployments.sent_jobs import SentBatch, SentJobs
from sutro_stream.errors import StoreError


def batch(first_index: int, **fields: object) -> SentBatch:
    """A submission of all rows of a batch."""
    given: dict[str, object] = {
        "first_index": first_index,
        "offsets": None,
        "digest": "d",
        "key": f"key-{first_index}",
    }
    return SentBatch(**(given | fields))  # type: ignore[arg-type]


def reopened(path: Path, *, restart: bool = False) -> SentJobs:
    """What a later process finds."""
    jobs = SentJobs()
    jobs.open(path, restart=restart)
    return jobs


def test_what_is_out_is_found_again(tmp_path: Path) -> None:
    """Without closing the file, as after a kill."""
    path = tmp_path / "jobs"
    jobs = reopened(path)
    jobs.sent(batch(0))
    jobs.sent(batch(10, offsets=[1, 3]))
    jobs.accepted(0, "job-1")
    found = reopened(path)
    assert found.get(0) == batch(0, job_id="job-1")
    assert found.get(10) == batch(10, offsets=[1, 3])
    jobs.close(remove=False)
    found.close(remove=False)


def test_what_has_ended_is_not_out(tmp_path: Path) -> None:
    """Neither now nor later; a second end says nothing."""
    path = tmp_path / "jobs"
    jobs = reopened(path)
    jobs.sent(batch(0))
    jobs.ended(0)
    jobs.ended(0)
    assert jobs.is_empty
    jobs.close(remove=False)
    again = reopened(path)
    assert again.is_empty
    again.close(remove=True)
    assert not path.exists()


def test_a_torn_line_is_dropped(tmp_path: Path) -> None:
    """And what is written next is not joined to it."""
    path = tmp_path / "jobs"
    jobs = reopened(path)
    jobs.sent(batch(0))
    jobs.close(remove=False)
    with path.open("ab") as file:
        file.write(b'{"accepted":0,"jo')
    again = reopened(path)
    again.accepted(0, "job-2")
    again.close(remove=False)
    last = reopened(path)
    assert last.get(0) == batch(0, job_id="job-2")
    last.close(remove=False)


def test_a_restart_forgets(tmp_path: Path) -> None:
    """What was out is of no interest."""
    path = tmp_path / "jobs"
    jobs = reopened(path)
    jobs.sent(batch(0))
    jobs.close(remove=False)
    again = reopened(path, restart=True)
    assert again.is_empty
    again.close(remove=False)


@pytest.mark.parametrize("content", [b"id,text\n1,a\n", b'{"format":"other"}\n'])
def test_another_file_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """It is no list of jobs, and stays as it is."""
    path = tmp_path / "jobs"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="jobs"):
        reopened(path)
    assert path.read_bytes() == content


def test_without_a_file_it_is_in_memory() -> None:
    """For runs that keep nothing."""
    jobs = SentJobs()
    jobs.sent(batch(0))
    jobs.accepted(0, "job-1")
    assert jobs.get(0) == batch(0, job_id="job-1")
