"""Programs that need no endpoint: run, and watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from systems.child import Work

from rig.endpoints import BENCHMARKS

_LOOK_S = 0.1
_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a program told, and what was seen of it.

    Attributes:
        told: Its last line.
        whole_s: From its start to its end.
        rss: Seconds since its start, and resident MiB then.
    """

    told: Mapping[str, Any]
    whole_s: float
    rss: Sequence[tuple[float, float]]


def run_program(module: str, work: Work) -> Watched:
    """Run a program of the folder `systems`.

    Raises:
        SystemExit: It failed.
    """
    command = [sys.executable, "-m", f"systems.{module}", json.dumps(asdict(work))]
    started_s = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=work.folder,
        env=dict(os.environ, PYTHONPATH=str(BENCHMARKS)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        killer = threading.Timer(_LIMIT_S, process.kill)
        killer.start()
        curve: list[tuple[float, float]] = []
        end = threading.Event()
        looking = threading.Thread(
            target=_look, args=(process.pid, started_s, curve, end)
        )
        looking.start()
        assert process.stdout is not None  # noqa: S101 - asked for above
        said = process.stdout.read()
        code = process.wait()
        end.set()
        looking.join()
        killer.cancel()
    whole_s = time.perf_counter() - started_s
    if code != 0:
        raise SystemExit(f"{module}: exit code {code}")
    told = json.loads(said.strip().splitlines()[-1])
    return Watched(told=told, whole_s=whole_s, rss=curve)


def _look(
    pid: int, started_s: float, curve: list[tuple[float, float]], end: threading.Event
) -> None:
    while not end.wait(_LOOK_S):
        resident = resident_mb(pid)
        if resident is not None:
            curve.append((time.perf_counter() - started_s, resident))


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process in MiB, `None` if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return None
