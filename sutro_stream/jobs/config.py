"""How a deployment is set up: everything that an operator can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sutro_stream.values.catalogue import Catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one job may be, by priority.

    Attributes:
        rows: Most rows of a job.
        tokens: Most tokens of a job, input and output together.
    """

    rows: int
    tokens: int


USUAL_QUOTAS: Mapping[int, Quota] = {
    0: Quota(rows=1_000, tokens=1_000_000),
    1: Quota(rows=1_000_000, tokens=10_000_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlPolicy:
    """Which input files are fetched.

    Attributes:
        allow_private: Whether loopback, private and link-local addresses are.
        max_bytes: Largest file.
        timeout_s: Longest download, in seconds.
    """

    allow_private: bool = False
    max_bytes: int = 8 << 30
    timeout_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    r"""A deployment.

    Attributes:
        data_dir: Folder of everything that is kept; made if it is not there.
        catalogue: Models.
        quotas: By priority; every priority has one.
        urls: Which input files are fetched.
        max_body_bytes: Largest request body.
        max_running_jobs: Jobs worked on at once; more of them wait.
        retention_days: Days after which a finished job's results are removed,
            `None` for never.
        disk_floor_bytes: Free space of the data folder below which no job is
            accepted, so that those that run can be brought to their end.
        function_requests_per_minute: Function runs of an account, `None` for no
            limit.
        function_deadline_s: Longest Function run, in seconds.
        flatten_newlines: Whether line breaks in cells of fetched files become the
            two characters `\n`, as the hosted service has it.
    """

    data_dir: Path
    catalogue: Catalogue
    quotas: Mapping[int, Quota] = field(default_factory=lambda: dict(USUAL_QUOTAS))
    urls: UrlPolicy = UrlPolicy()
    max_body_bytes: int = 256 << 20
    max_running_jobs: int = 8
    retention_days: float | None = 90.0
    disk_floor_bytes: int = 1 << 30
    function_requests_per_minute: float | None = None
    function_deadline_s: float = 90.0
    flatten_newlines: bool = False
