"""The folder of a deployment."""

from __future__ import annotations

from pathlib import Path

import pytest

from sutro_stream.errors import StoreError, StoreInUseError
from sutro_stream.jobs.folder import DataFolder


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """One that is prepared."""
    made = DataFolder(tmp_path / "data")
    made.prepare()
    return made


def test_preparing_twice_changes_nothing(folder: DataFolder) -> None:
    """Each start does it."""
    (folder.uploads / "x").touch()
    folder.prepare()

    assert (folder.uploads / "x").exists()


def test_a_place_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    """The operator has typed it."""
    (tmp_path / "data").touch()

    with pytest.raises(StoreError, match="data folder"):
        DataFolder(tmp_path / "data").prepare()


def test_the_secret_is_made_once_and_is_for_the_owner_alone(
    folder: DataFolder,
) -> None:
    """Links that were given out stay good."""
    secret = folder.secret()

    assert len(secret) == 32
    assert folder.secret() == secret
    assert (folder.root / "secret").stat().st_mode & 0o077 == 0


def test_only_one_may_serve_it(folder: DataFolder) -> None:
    """The next may when the first has gone."""
    with folder.locked(), pytest.raises(StoreInUseError), folder.locked():
        pass
    with folder.locked():
        pass


def test_results_stay_when_the_work_goes(folder: DataFolder) -> None:
    """The ledger and the rows are no longer wanted."""
    job = folder.job("job-1")
    job.artifacts.mkdir(parents=True)
    for path in (job.results, job.rows, job.root / "results.parquet.ledger"):
        path.touch()
    job.drop_work()

    assert sorted(entry.name for entry in job.root.iterdir()) == [
        "artifacts",
        "results.parquet",
    ]


def test_removing_what_is_not_there_is_no_mistake(folder: DataFolder) -> None:
    """A job may have failed before it had any files."""
    folder.job("job-2").remove()
    folder.job("job-2").drop_work()
