"""A chat endpoint that only waits: as lean as Python permits, and it counts.

    python -m rig.scripted_endpoint OPTIONS

Its address is printed as JSON. `GET /statistics` tells what it has seen, `POST /reset`
starts its counts and its service times anew. It ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from itertools import repeat
from typing import cast

import uvloop

from rig.answers import COMPLETION, Tail

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_CLOSE = b"\r\nconnection: close"
_MODELS = b'{"object":"list","data":[{"id":"bench","object":"model"}]}'


def _reply(body: bytes, status: str = "200 OK") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


_ANSWER = _reply(COMPLETION.encode())


class Counts:
    """What has been seen since the last reset, and the service times that come.

    Attributes:
        requests: Requests for an answer.
        answered: Those that were answered.
        dropped: Those whose client left before.
        in_flight: Those that wait now.
        peak_in_flight: The most at any moment.
        busy_s: Seconds of waiting, over all of them.
        first_s: When the first one came.
        last_s: When the last one was answered.
    """

    def __init__(self, latency_s: float, tail: Tail | None) -> None:
        self._latency_s, self._tail = latency_s, tail
        self.connections = 0
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.requests = self.answered = self.dropped = 0
        self.peak_in_flight = self.in_flight
        self.busy_s = self.first_s = self.last_s = 0.0
        times = repeat(self._latency_s) if self._tail is None else self._tail.times_s()
        self.times: Iterator[float] = iter(times)

    def begin(self, now_s: float) -> float:
        """A request has come.

        Returns:
            How long it takes, in seconds.
        """
        if not self.requests:
            self.first_s = now_s
        self.requests += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        return next(self.times)

    def end(self, now_s: float, waited_s: float, *, answered: bool) -> None:
        """It is over."""
        self.in_flight -= 1
        self.busy_s += waited_s
        self.last_s = now_s
        self.answered += answered
        self.dropped += not answered

    def told(self) -> bytes:
        """As JSON."""
        told = {
            "requests": self.requests,
            "answered": self.answered,
            "dropped": self.dropped,
            "peak_in_flight": self.peak_in_flight,
            "connections": self.connections,
            "busy_s": self.busy_s,
            "seconds": max(0.0, self.last_s - self.first_s),
        }
        return json.dumps(told).encode()


class Endpoint(asyncio.Protocol):
    """One connection."""

    def __init__(self, counts: Counts, loop: asyncio.AbstractEventLoop) -> None:
        self._counts, self._loop = counts, loop
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._began_s = 0.0
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._counts.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._counts.connections -= 1
        self._transport = None
        if self._waiting is not None:
            self._waiting.cancel()
            self._end(answered=False)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return
        head = self._buffer[:end].lower()
        found = head.find(_LENGTH)
        length = 0
        if found >= 0:
            length = int(head[found + len(_LENGTH) :].partition(b"\r\n")[0])
        if len(self._buffer) - end - len(_HEAD_END) < length:
            return
        self._buffer = b""
        self._closing = _CLOSE in head
        if b"/chat/completions http/" not in head[:200]:
            self._write(self._other(head))
            return
        self._began_s = now_s = self._loop.time()
        latency_s = self._counts.begin(now_s)
        if latency_s:
            self._waiting = self._loop.call_later(latency_s, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        self._end(answered=True)
        self._write(_ANSWER)

    def _end(self, *, answered: bool) -> None:
        self._waiting = None
        now_s = self._loop.time()
        self._counts.end(now_s, now_s - self._began_s, answered=answered)

    def _other(self, head: bytes) -> bytes:
        if head.startswith(b"get /statistics"):
            return _reply(self._counts.told())
        if head.startswith(b"post /reset"):
            self._counts.reset()
            return _reply(b"{}")
        if head.startswith(b"get /v1/models"):
            return _reply(_MODELS)
        return _reply(b'{"error":{"message":"not here"}}', "404 Not Found")

    def _write(self, reply: bytes) -> None:
        if self._transport is not None:
            self._transport.write(reply)
            if self._closing:
                self._transport.close()


async def serve(latency_s: float, tail: Tail | None) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    counts = Counts(latency_s, tail)
    server = await loop.create_server(
        lambda: Endpoint(counts, loop), "127.0.0.1", 0, backlog=4096
    )
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"base_url": f"http://127.0.0.1:{port}/v1"}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--tail-seed", type=int)
    options = parser.parse_args()
    tail = None if options.tail_seed is None else Tail(seed=options.tail_seed)
    uvloop.run(serve(options.latency_ms / 1000, tail))


if __name__ == "__main__":
    main()
