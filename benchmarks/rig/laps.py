"""One measured run: a process beside an endpoint that is watched meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from systems.child import Work

from rig.endpoints import BENCHMARKS, Endpoint, Seen

_LOOK_S = 0.05
_TREE_LOOK_S = 0.5
_LIMIT_S = 120.0
_STEADY = (0.1, 0.9)


@dataclass(frozen=True, kw_only=True)
class System:
    """Somebody to be measured.

    Attributes:
        name: As it is shown.
        module: Program of the folder `systems`.
        rows: Rows of one run.
        options: For the program.
        python: Interpreter of its environment, `None` for this one.
        version: Of a peer, `None` for what this environment holds.
        laps: Most runs, `None` for as many as of the others.
        is_peer: Whether it is another library, and not a limit.
        whole_tree: Whether its work is done by processes of its own.
        connections: Whether it must keep a connection for each request in flight.
    """

    name: str
    module: str
    rows: int
    options: Mapping[str, Any] = field(default_factory=dict)
    python: Path | None = None
    version: str | None = None
    laps: int | None = None
    is_peer: bool = False
    whole_tree: bool = False
    connections: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """What came of one run.

    Attributes:
        system: Who ran.
        rows: Rows there were.
        answered: Rows with an answer.
        seconds: As the program measured, without start-up and warm-up.
        rows_per_s: Over these seconds.
        steady_rows_per_s: As the endpoint saw it, from a tenth of the requests to
            nine tenths; `None` if that was too short to tell.
        whole_s: From the program's start to its end.
        whole_rows_per_s: Over these, warm-up included.
        cpu_ms_per_row: Processor time of the program, over `seconds`.
        peak_rss_mb: Of the program; of all its processes where it has several.
        connections: Most at any look at the endpoint.
        peak_in_flight: As the endpoint counted, `None` if it does not count.
        endpoint_load: Processor time of the endpoint, as a share of one core.
        busy_s: Seconds of service at the endpoint, over all requests.
        told: What else the program told.
    """

    system: str
    rows: int
    answered: int
    seconds: float
    rows_per_s: float
    steady_rows_per_s: float | None
    whole_s: float
    whole_rows_per_s: float
    cpu_ms_per_row: float
    peak_rss_mb: float
    connections: int
    peak_in_flight: int | None
    endpoint_load: float
    busy_s: float
    told: Mapping[str, Any]

    def json(self) -> dict[str, Any]:
        """For the results."""
        return asdict(self)


class _Watch:
    """Looks at the endpoint, and at the processes, while a program runs."""

    def __init__(self, endpoint: Endpoint, *, whole_tree: bool) -> None:
        self._endpoint, self._whole_tree = endpoint, whole_tree
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._cpu_s: dict[int, float] = {}
        self._process: psutil.Process | None = None
        self.peak_rss_mb = 0.0
        self.curve: list[tuple[float, Seen]] = []

    def start(self, pid: int) -> None:
        """Begin."""
        self._process = psutil.Process(pid)
        self._thread.start()

    def stop(self) -> None:
        """End, with a last look."""
        self._end.set()
        self._thread.join()

    @property
    def tree_cpu_s(self) -> float:
        """Processor time of all processes, as far as it was seen."""
        return sum(self._cpu_s.values())

    def steady_rows_per_s(self) -> float | None:
        """Between a tenth of the requests and nine tenths."""
        first, last = self.curve[0][1].requests, self.curve[-1][1].requests
        low, high = (first + share * (last - first) for share in _STEADY)
        inside = [(t, seen) for t, seen in self.curve if low <= seen.requests <= high]
        if len(inside) < 3:
            return None
        (start_s, begin), (end_s, end) = inside[0], inside[-1]
        return (end.requests - begin.requests) / (end_s - start_s)

    def _run(self) -> None:
        tree_s = 0.0
        while not self._end.wait(_LOOK_S):
            now_s = time.perf_counter()
            self.curve.append((now_s, self._endpoint.look()))
            if self._whole_tree and now_s > tree_s + _TREE_LOOK_S:
                tree_s = now_s
                self._look_at_tree()

    def _look_at_tree(self) -> None:
        rss = 0
        try:
            assert self._process is not None  # noqa: S101 - set before the start
            tree = [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in tree:
            try:
                rss += process.memory_info().rss
                self._cpu_s[process.pid] = sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        self.peak_rss_mb = max(self.peak_rss_mb, rss / (1 << 20))


def work_for(
    system: System, endpoint: Endpoint, *, table: Path, concurrency: int, folder: str
) -> Work:
    """What a system is given to do."""
    return Work(
        base_url=endpoint.base_url,
        rows=system.rows,
        concurrency=concurrency,
        table=str(table),
        prompts_file=str(table.with_suffix(".txt")),
        folder=folder,
        warm_rows=2 * concurrency,
        reset_url=endpoint.reset_url,
        options=dict(system.options),
    )


def run_lap(
    system: System, endpoint: Endpoint, *, table: Path, concurrency: int
) -> Lap:
    """Run it once.

    Raises:
        LapError: It did not answer every row, or not as it should.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = work_for(
            system, endpoint, table=table, concurrency=concurrency, folder=folder
        )
        watch = _Watch(endpoint, whole_tree=system.whole_tree)
        before, served_s = endpoint.look(), endpoint.cpu_s()
        started_s = time.perf_counter()
        told = _run(system, work, watch)
        whole_s = time.perf_counter() - started_s
        after, served_s = endpoint.look(), endpoint.cpu_s() - served_s
    lap = Lap(
        system=system.name,
        rows=system.rows,
        answered=told.pop("answered"),
        seconds=told["seconds"],
        rows_per_s=system.rows / told.pop("seconds"),
        steady_rows_per_s=watch.steady_rows_per_s(),
        whole_s=whole_s,
        whole_rows_per_s=system.rows / whole_s,
        cpu_ms_per_row=1000 * max(told.pop("cpu_s"), watch.tree_cpu_s) / system.rows,
        peak_rss_mb=max(told.pop("peak_rss_mb"), watch.peak_rss_mb),
        connections=max(seen.connections for _, seen in watch.curve),
        peak_in_flight=after.peak_in_flight,
        endpoint_load=served_s / whole_s,
        busy_s=after.busy_s,
        told=told,
    )
    _check(system, lap, before, after, concurrency)
    return lap


class LapError(Exception):
    """A run whose figures say nothing."""


def _run(system: System, work: Work, watch: _Watch) -> dict[str, Any]:
    """What it told."""
    python = str(system.python or sys.executable)
    command = [python, "-m", f"systems.{system.module}", json.dumps(asdict(work))]
    # Seen by no peer: keys, proxies and settings of whoever runs this.
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment["PYTHONPATH"] = str(BENCHMARKS)
    errors = work.file("errors.txt")
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            command,
            cwd=work.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process,
    ):
        watch.start(process.pid)
        killer = threading.Timer(_LIMIT_S, process.kill)
        killer.start()
        assert process.stdout is not None  # noqa: S101 - asked for above
        said = process.stdout.read()
        process.wait()
        killer.cancel()
        watch.stop()
    if process.returncode != 0:
        lines = errors.read_text(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else "no message"
        raise LapError(f"{system.name}: exit code {process.returncode}: {reason}")
    return _told(system, said)


def _told(system: System, said: bytes) -> dict[str, Any]:
    """The last line that is an object: some libraries say goodbye behind it."""
    for line in reversed(said.splitlines()):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict):
            return told
    raise LapError(f"{system.name}: told nothing")


_KEPT = ("HOME", "PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")


def _check(
    system: System, lap: Lap, before: Seen, after: Seen, concurrency: int
) -> None:
    """Every answer has arrived, and the endpoint saw what it should have seen."""
    if lap.answered != lap.rows:
        raise LapError(f"{system.name}: {lap.answered} of {lap.rows} rows answered")
    requests = after.requests
    if after.answered is None:
        requests -= before.requests
    if requests < lap.rows:
        raise LapError(f"{system.name}: the endpoint saw {requests} requests only")
    if system.is_peer or not system.connections:
        return
    seen = lap.connections if lap.peak_in_flight is None else lap.peak_in_flight
    if seen != concurrency:
        raise LapError(
            f"{system.name}: {seen} in flight at the endpoint, not {concurrency}"
        )


def median_lap(laps: Sequence[Lap]) -> Lap:
    """The one in the middle by its rate; the slower of two."""
    return sorted(laps, key=lambda lap: lap.rows_per_s)[(len(laps) - 1) // 2]
