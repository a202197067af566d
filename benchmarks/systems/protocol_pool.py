"""The least a Python client can do: bytes on a socket, one reply after the other.

Knows one kind of reply (status 200 with a Content-Length), so it is no HTTP client, but
the limit for one in Python. On uvloop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

import anyio
import orjson

from systems.child import MODEL, Work, messages, timed

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class Connection(asyncio.Protocol):
    """Asks for rows from an iterator until it is used up."""

    def __init__(self, head: bytes, prefix: bytes, suffix: bytes) -> None:
        self._head, self._prefix, self._suffix = head, prefix, suffix
        self._buffer = b""
        self._rows: Iterator[tuple[int, str]] = iter(())
        self._row = 0
        self._done: asyncio.Future[None] | None = None
        self._answers: list[str | None] = []
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def begin(
        self, rows: Iterator[tuple[int, str]], answers: list[str | None]
    ) -> asyncio.Future[None]:
        """Ask for rows; done when there are none left."""
        self._rows, self._answers = rows, answers
        self._done = asyncio.get_running_loop().create_future()
        self._next()
        return self._done

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return
        head = self._buffer[:end].lower()
        found = head.find(_LENGTH)
        if not head.startswith(b"http/1.1 200") or found < 0:
            raise SystemExit(f"not the reply that is expected: {head!r}")
        length = int(head[found + len(_LENGTH) :].partition(b"\r\n")[0])
        body = self._buffer[end + 4 :]
        if len(body) < length:
            return
        self._buffer = b""
        reply = orjson.loads(body)
        self._answers[self._row] = reply["choices"][0]["message"]["content"]
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionError("closed by the endpoint"))

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()

    def _next(self) -> None:
        row = next(self._rows, None)
        if row is None:
            if self._done is not None:
                self._done.set_result(None)
            return
        self._row, prompt = row
        body = b"".join((self._prefix, orjson.dumps(prompt), self._suffix))
        if self._transport is not None:
            self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))


async def measured(work: Work) -> None:
    """Warm up, then run the clock over the whole work."""
    url = urlsplit(work.chat_url)
    head = (
        f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()
    whole = orjson.dumps({"model": MODEL, "messages": messages("")})
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(work.concurrency):
        _, connection = await loop.create_connection(
            lambda: Connection(head, whole[:-4], whole[-3:]),
            url.hostname or "",
            url.port or 80,
        )
        connections.append(connection)
    await _ask(connections, work.prompts(work.warm_rows))
    with timed(work) as count:
        count.answered = await _ask(connections, work.prompts())
    for connection in connections:
        connection.close()


async def _ask(connections: list[Connection], prompts: list[str]) -> int:
    answers: list[str | None] = [None] * len(prompts)
    rows = iter(enumerate(prompts))
    for done in [connection.begin(rows, answers) for connection in connections]:
        await done
    return sum(answer is not None for answer in answers)


if __name__ == "__main__":
    anyio.run(measured, Work.given(), backend_options={"use_uvloop": True})
