"""One run against a scripted endpoint, ours or a peer's, in comparable numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peers import Peer, run_peer

import sutro_stream as ss
from sutro_stream.testing import (
    ChatServerProcess,
    ChatServerStatistics,
    chat_server_process,
)

# What `concurrency=` takes may be newer than what is installed.
AUTO: Any = "auto"


@dataclass(frozen=True)
class Lap:
    """What came of one run.

    Attributes:
        name: Who ran, and how.
        rows: Rows there were.
        answered: Rows with an answer.
        seconds: From the first request to the last answer.
        seen: What the endpoint has seen.
    """

    name: str
    rows: int
    answered: int
    seconds: float
    seen: ChatServerStatistics

    @property
    def rows_per_s(self) -> float:
        """Rows answered a second."""
        return self.answered / self.seconds

    @property
    def refused(self) -> int:
        """Requests answered with 429."""
        return self.seen.by_status.get(429, 0)

    @property
    def extra_percent(self) -> float:
        """Requests beyond one a row, in per cent of the rows; errors of 5xx apart."""
        failed = sum(n for code, n in self.seen.by_status.items() if code >= 500)
        return 100 * (self.seen.requests - failed - self.rows) / self.rows


def texts(rows: int) -> Iterator[dict[str, str]]:
    """Rows of which each has a prompt of its own."""
    return ({"text": f"text {number}"} for number in range(rows))


async def our_lap(
    name: str, server_arguments: tuple[str, ...], rows: int, **options: Any
) -> Lap:
    """A run of the library, counted at an endpoint of its own.

    Args:
        name: As it is shown.
        server_arguments: Of the scripted server.
        rows: Rows to ask for.
        **options: Of `ss.infer`.
    """
    async with chat_server_process(*server_arguments) as server:
        answered, seconds = await our_run(server, rows, **options)
        seen = await server.statistics()
    return Lap(name, rows, answered, seconds, seen)


async def our_run(
    server: ChatServerProcess, rows: int, **options: Any
) -> tuple[int, float]:
    """Rows answered by the library, and seconds."""
    answered = 0
    async with ss.ChatEngine(server.base_url, "m") as engine:
        stage = ss.infer(engine, **options)
        pipeline = ss.from_rows(texts(rows)) | ss.prompts("text") | stage
        started_s = time.perf_counter()
        async with pipeline.open() as results:
            async for result in results:
                answered += result.error is None
        return answered, time.perf_counter() - started_s


async def peer_lap(
    peer: Peer, server_arguments: tuple[str, ...], rows: int, concurrency: int
) -> Lap:
    """A peer's run; its first, warming request is not counted."""
    async with chat_server_process(*server_arguments) as server:
        run = await run_peer(
            peer, server.base_url, rows=rows, concurrency=concurrency, output=None
        )
        seen = await server.statistics()
    name = f"{peer.name} {peer.version}"
    return Lap(name, rows, run.answered, run.seconds, seen)


def has_auto() -> bool:
    """Whether the library finds the concurrency by itself; says so if not."""
    try:
        ss.infer(ss.ChatEngine("http://127.0.0.1:9/v1", "m"), concurrency=AUTO)
    except (TypeError, ss.ConfigurationError):
        print('left out: concurrency="auto" (not in this version)')
        return False
    return True
