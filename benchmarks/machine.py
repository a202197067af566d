"""What a figure was measured on: machine, versions, command."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("sutro-stream", "aiohttp", "anyio", "orjson", "pyarrow", "uvloop")


def describe() -> str:
    """A few lines to stand above the figures."""
    known = facts()
    versions = ", ".join(f"{name} {v}" for name, v in known["versions"].items())
    return (
        f"machine  {known['processor']}, {known['cores']} cores, {known['platform']}\n"
        f"python   {known['python']}\n"
        f"versions {versions}\n"
        f"command  {known['command']}"
    )


def facts() -> dict[str, Any]:
    """The same, one by one."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "command": f"python {' '.join(_relative(word) for word in sys.argv)}",
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def peak_rss_mb() -> float:
    """Peak resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would count the parent's memory at the start of this process too.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu_s() -> float:
    """Processor time of this process so far, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _relative(word: str) -> str:
    """A path below the folder one is in, without what lies above it."""
    path = Path(word)
    below = path.is_absolute() and path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd())) if below else word


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
