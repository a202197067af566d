"""What a figure was measured on: machine, versions, command."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("sutro-stream", "aiohttp", "anyio", "orjson", "pyarrow", "uvloop")


def describe() -> str:
    """A few lines to stand above the figures."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return (
        f"machine  {_processor()}, {os.cpu_count()} cores, {platform.platform()}\n"
        f"python   {platform.python_version()}\n"
        f"versions {versions}\n"
        f"command  python {' '.join(sys.argv)}"
    )


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
