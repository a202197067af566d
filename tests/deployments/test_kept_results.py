"""Results that were fetched, kept for a later run."""

from __future__ import annotations

from pathlib import Path

import pytest

from sutro_stream.deployments.kept_results import KeptResults
from sutro_stream.errors import StoreError


def kept_in(folder: Path, *, restart: bool = False) -> KeptResults:
    """Results kept in a folder."""
    results = KeptResults()
    results.open(folder, restart=restart)
    return results


def place_of(results: KeptResults, first_index: int) -> Path:
    """Where the results of a batch belong."""
    place = results.place(first_index)
    assert place is not None
    return place


def test_without_a_folder_nothing_is_kept() -> None:
    """And nothing is to be dropped."""
    results = KeptResults()
    assert results.place(0) is None
    results.drop(0)


def test_what_is_kept_is_there_for_the_next_one(tmp_path: Path) -> None:
    """Under the same index."""
    results = kept_in(tmp_path / "results")
    place_of(results, 10).write_text("ten")
    results.close(remove=False)
    assert place_of(kept_in(tmp_path / "results"), 10).read_text() == "ten"


def test_a_restart_forgets_it(tmp_path: Path) -> None:
    """Whatever it was."""
    place_of(kept_in(tmp_path / "results"), 10).write_text("ten")
    assert not place_of(kept_in(tmp_path / "results", restart=True), 10).exists()


def test_what_is_dropped_is_gone(tmp_path: Path) -> None:
    """Also where it was not there."""
    results = kept_in(tmp_path / "results")
    place_of(results, 10).write_text("ten")
    results.drop(10)
    results.drop(20)
    assert not place_of(results, 10).exists()


@pytest.mark.parametrize("remove", [True, False])
def test_an_empty_folder_goes(tmp_path: Path, *, remove: bool) -> None:
    """There is nothing to go on with."""
    results = kept_in(tmp_path / "results")
    results.close(remove=remove)
    assert not list(tmp_path.iterdir())


def test_a_finished_run_leaves_nothing(tmp_path: Path) -> None:
    """Of what it kept."""
    results = kept_in(tmp_path / "results")
    place_of(results, 10).write_text("ten")
    results.close(remove=True)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    """It names the place."""
    with pytest.raises(StoreError, match="cannot keep results in"):
        kept_in(tmp_path / "none" / "results")
