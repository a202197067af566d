"""What pages show of the benchmarks is what the benchmarks found."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import sutro_stream as ss

ROOT = Path(ss.__file__).parents[1]
README = ROOT / "README.md"
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def program() -> Mapping[str, Any]:
    """What `benchmarks/summary.py` defines."""
    return runpy.run_path(str(BENCHMARKS / "summary.py"))


def test_the_table_of_the_readme_is_that_of_the_results(
    program: Mapping[str, Any],
) -> None:
    """Putting it there anew changes nothing."""
    summary: Callable[[Path], str] = program["summary"]
    replaced: Callable[[str, str], str] = program["replaced"]
    page = README.read_text()
    table = summary(BENCHMARKS / "results")
    assert "sutro_stream" in table
    assert replaced(page, table) == page


def test_a_page_without_a_place_for_the_table_is_refused(
    program: Mapping[str, Any],
) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="no place for the table"):
        program["replaced"]("# A page", "| |")


def test_the_pictures_of_the_readme_are_there() -> None:
    """Those that the suite draws."""
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README.read_text())
    assert len(shown) >= 2
    for name in shown:
        path = ROOT / name
        assert path.read_bytes().startswith(b"\x89PNG"), name
        assert path.with_suffix(".svg").exists(), name
