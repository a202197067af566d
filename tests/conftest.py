"""Assertions of the shipped suites show their values, as those of the tests do."""

from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
# Whose tests share servers that take long to start.
ROOMS_TOGETHER = ("sdk", "outside")

# The same examples on every run, so that a change is judged by what it changed;
# `--hypothesis-profile wandering` looks for others.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("wandering", derandomize=False)
settings.load_profile("repeatable")

pytest.register_assert_rewrite(
    "sutro_stream.testing.engine_suite",
    "sutro_stream.testing.sink_suite",
    "sutro_stream.testing.source_suite",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes run the tests, keep together what shares fixtures."""
    for item in items:
        place = item.path.relative_to(HERE)
        together = place.parts[0] in ROOMS_TOGETHER
        name = place.parts[0] if together else str(place)
        item.add_marker(pytest.mark.xdist_group(name))
