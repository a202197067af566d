"""What every measured process shares; it needs the standard library alone.

    python -m systems.NAME WORK

`WORK` is JSON, see `Work`. The last line a process prints is JSON as well: what it
counted and how long it took, see `timed`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

MODEL = "bench"
SYSTEM_PROMPT = "Say how the customer feels."
SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["glad", "neutral", "angry"]},
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
    },
    "required": ["mood", "score"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Work:
    """What a process is to do.

    Attributes:
        base_url: Of the endpoint, up to `/v1`.
        rows: How many rows to ask for.
        concurrency: Requests in flight.
        table: Parquet file of the rows; the prompt is the column `review`.
        prompts_file: The prompts alone, one a line.
        folder: Where it may write.
        warm_rows: Rows asked for before the clock starts.
        reset_url: Posted to before the clock starts, `None` for nothing to reset.
        options: What else the system needs.
    """

    base_url: str
    rows: int
    concurrency: int
    table: str
    prompts_file: str
    folder: str
    warm_rows: int
    reset_url: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def given(cls) -> Work:
        """As the command line says."""
        return cls(**json.loads(sys.argv[1]))

    @property
    def chat_url(self) -> str:
        """Where requests go."""
        return f"{self.base_url}/chat/completions"

    def prompts(self, rows: int | None = None) -> list[str]:
        """The first rows' prompts, `None` for all that are to be asked."""
        wanted = self.rows if rows is None else rows
        with Path(self.prompts_file).open() as lines:
            return [line.rstrip("\n") for line in islice(lines, wanted)]

    def file(self, name: str) -> Path:
        """A path to write to."""
        return Path(self.folder) / name


@dataclass
class Count:
    """What is filled in while the clock runs.

    Attributes:
        answered: Rows with an answer.
        figures: What else is worth telling.
    """

    answered: int = 0
    figures: dict[str, Any] = field(default_factory=dict)


@contextmanager
def timed(work: Work) -> Iterator[Count]:
    """Run the clock around the block, then print what was measured."""
    if work.reset_url is not None:
        with urllib.request.urlopen(work.reset_url, data=b"") as reply:  # noqa: S310 - our own endpoint
            reply.read()
    count = Count()
    before, started_s = cpu_s(), time.perf_counter()
    yield count
    seconds = time.perf_counter() - started_s
    used_s = cpu_s() - before
    print()
    told = {"answered": count.answered, "seconds": seconds, "cpu_s": used_s}
    told["peak_rss_mb"] = peak_rss_mb()
    print(json.dumps(told | count.figures), flush=True)


def cpu_s() -> float:
    """Processor time of this process so far, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_rss_mb() -> float:
    """Peak resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would count the parent's memory at the start of this process too.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def leave() -> None:
    """End at once: what libraries do at exit is not measured."""
    sys.stdout.flush()
    os._exit(0)


def messages(prompt: str) -> list[dict[str, str]]:
    """A row as the chat API wants it."""
    return [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": prompt},
    ]
