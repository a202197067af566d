"""Assertions of the shipped suites show their values, as those of the tests do."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling
from xdist.workermanage import WorkerController

# Their files share servers and reports that take long to make.
TOGETHER = "tests/sdk/"
ALONE = "tests/sdk/test_embedded_model.py"
# What takes longest, longest first: none of it may begin when all else has ended.
EARLY = (
    TOGETHER,
    "tests/outside/",
    "tests/faults/",
    "tests/acceptance/",
    "tests/engines/",
    "tests/docs/",
    "tests/pipeline/",
    "tests/flow/",
)

# The same examples on every run, so that a change is judged by what it changed;
# `--hypothesis-profile wandering` looks for others.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("wandering", derandomize=False, deadline=None)
settings.load_profile("repeatable")

pytest.register_assert_rewrite(
    "sutro_stream.testing.engine_suite",
    "sutro_stream.testing.sink_suite",
    "sutro_stream.testing.source_suite",
)


class SharedFixtures(LoadScopeScheduling):  # type: ignore[misc]  # not annotated
    """A file at a time goes to a process, for its tests share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return TOGETHER if file.startswith(TOGETHER) and file != ALONE else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = min(self.workqueue, key=_turn)
        self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


def _turn(scope: str) -> int:
    places = (turn for turn, place in enumerate(EARLY) if scope.startswith(place))
    return next(places, len(EARLY))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores, as some always wait for others."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Where several processes run the tests, each gets whole files, long ones first."""
    return SharedFixtures(config, log)
