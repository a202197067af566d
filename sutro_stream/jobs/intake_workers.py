"""Processes for large bodies: started when there is one, kept for those that follow.

Starting one takes longer than reading a body of some megabytes. Not a pool of the
standard library's kind: those run the main program's file once more to find what they
are to call, which starts a second service where somebody embeds ours in a script
without a guard.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from types import TracebackType
from typing import Self

import anyio
import msgspec
from anyio import CancelScope
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from sutro_stream.errors import StoreError
from sutro_stream.jobs.body import ArrayBody, Body
from sutro_stream.jobs.intake_worker import (
    LENGTH,
    BodyReply,
    FailedReply,
    RefusedReply,
    Reply,
    RowsReply,
    SplitTask,
    StoreTask,
    Task,
)
from sutro_stream.jobs.row_columns import Field
from sutro_stream.jobs.row_file import StoredRows
from sutro_stream.wire.api_error import ApiError

_MODULE = "sutro_stream.jobs.intake_worker"
_IDLE_S = 60.0
_BROKEN = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    anyio.IncompleteRead,
)


class _EndedError(Exception):
    """A process is not there any more."""


@dataclass(slots=True)
class _Worker:
    process: Process
    is_new: bool = True
    idle_since_s: float = 0.0

    async def ask(self, task: Task) -> Reply:
        """Have a task done.

        Raises:
            _EndedError: It has ended before it answered.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise AssertionError
        question = msgspec.msgpack.encode(task)
        answers = BufferedByteReceiveStream(stdout)
        try:
            await stdin.send(LENGTH.pack(len(question)) + question)
            (size,) = LENGTH.unpack(await answers.receive_exactly(LENGTH.size))
            answer = await answers.receive_exactly(size)
        except _BROKEN as error:
            raise _EndedError from error
        reply: Reply = msgspec.msgpack.decode(answer, type=Reply)
        return reply

    async def end(self) -> None:
        """End it, and wait until it is gone."""
        with CancelScope(shield=True):
            if self.process.returncode is None:
                self.process.kill()
            await self.process.aclose()


class IntakeWorkers:
    """The processes, at most one for each processor; used as `async with`.

    Concurrency: one event loop, any number of tasks.
    """

    def __init__(self, *, most: int | None = None, idle_s: float = _IDLE_S) -> None:
        """None yet.

        Args:
            most: Most at once, `None` for as many as there are processors: more of
                them take memory and win nothing.
            idle_s: Seconds after which `keep_few` ends one that nobody needed.
        """
        self._limiter = anyio.CapacityLimiter(most or os.cpu_count() or 1)
        self._idle_s = idle_s
        self._idle: list[_Worker] = []

    async def __aenter__(self) -> Self:
        """Nothing is started."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all that are idle; nobody may be waiting for another one."""
        while self._idle:
            await self._idle.pop().end()

    async def keep_few(self) -> None:
        """End those that nobody has needed for a while, until cancelled."""
        while True:
            await anyio.sleep(self._idle_s)
            before_s = anyio.current_time() - self._idle_s
            # The one used last is taken first, so the first ones idle the longest.
            while self._idle and self._idle[0].idle_since_s <= before_s:
                await self._idle.pop(0).end()

    async def split(self, path: Path) -> Body:
        """As `split_body`, in a process of its own.

        Cancellation: the process is ended.
        """
        reply = await self._ask(SplitTask(body=str(path)), about=path)
        if not isinstance(reply, BodyReply):
            raise _no_reply(path, reason="answered something else")
        return Body(fields=reply.fields, inputs=reply.inputs)

    async def write(
        self,
        body: Path,
        array: ArrayBody,
        target: Path,
        *,
        fields: Sequence[Field] | None,
        most_rows: int | None,
    ) -> StoredRows:
        """As `write_rows`, in a process of its own.

        Cancellation: the process is ended; an unfinished file may be left, which
        the next attempt writes over.
        """
        task = StoreTask(
            body=str(body),
            array=array,
            target=str(target),
            fields=None if fields is None else list(fields),
            most_rows=most_rows,
        )
        reply = await self._ask(task, about=body)
        if not isinstance(reply, RowsReply):
            raise _no_reply(body, reason="answered something else")
        return StoredRows(rows=reply.rows)

    async def _ask(self, task: Task, *, about: Path) -> BodyReply | RowsReply:
        async with self._limiter:
            while True:
                worker = self._idle.pop() if self._idle else await _started(about)
                try:
                    reply = await worker.ask(task)
                except _EndedError:
                    await worker.end()
                    # One that was idle may have been ended from outside meanwhile.
                    if worker.is_new:
                        status = worker.process.returncode
                        reason = f"ended with status {status}"
                        raise _no_reply(about, reason=reason) from None
                except BaseException:
                    # Nobody reads its answer any more, so it is of no more use.
                    await worker.end()
                    raise
                else:
                    break
            worker.is_new, worker.idle_since_s = False, anyio.current_time()
            self._idle.append(worker)
        if isinstance(reply, RefusedReply):
            raise ApiError(reply.status, reply.code, reply.detail)
        if isinstance(reply, FailedReply):
            raise StoreError(reply.message, path=reply.path)
        return reply


async def _started(about: Path) -> _Worker:
    # The child finds this package where we found it.
    search = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        process = await anyio.open_process(
            [sys.executable, "-P", "-m", _MODULE],
            stdin=PIPE,
            stdout=PIPE,
            stderr=None,
            env={**os.environ, "PYTHONPATH": search},
        )
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise _no_reply(about, reason=f"cannot be started: {reason}") from error
    return _Worker(process)


def _no_reply(body: Path, *, reason: str) -> StoreError:
    return StoreError(
        f"cannot read the received body {body}: the process for it {reason}",
        path=str(body),
    )
