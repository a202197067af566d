"""A process for one large body: told what to do on its input, answers on its output.

Not a pool of the standard library's kind: those run the main program's file once more
to find what they are to call, which starts a second service where somebody embeds ours
in a script without a guard.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import anyio
import msgspec
from anyio.to_process import current_default_process_limiter

from sutro_stream.errors import StoreError
from sutro_stream.jobs.body import ArrayBody, Body, split_body
from sutro_stream.jobs.row_columns import Field
from sutro_stream.jobs.row_file import StoredRows, write_rows
from sutro_stream.wire.api_error import ApiError

_MODULE = "sutro_stream.jobs.intake_worker"


class SplitTask(msgspec.Struct, tag=True, kw_only=True):
    """Take a body apart; see `split_body`."""

    body: str


class StoreTask(msgspec.Struct, tag=True, kw_only=True):
    """Store the rows of a body; see `write_rows`."""

    body: str
    array: ArrayBody
    target: str
    fields: list[Field] | None
    most_rows: int | None


class BodyReply(msgspec.Struct, tag=True, kw_only=True):
    """A body taken apart."""

    fields: bytes
    inputs: ArrayBody | str


class RowsReply(msgspec.Struct, tag=True, kw_only=True):
    """Rows stored."""

    rows: int


class RefusedReply(msgspec.Struct, tag=True, kw_only=True):
    """The request is refused."""

    status: int
    code: str
    detail: str


class FailedReply(msgspec.Struct, tag=True, kw_only=True):
    """A file cannot be read or written."""

    message: str
    path: str | None


Task: TypeAlias = SplitTask | StoreTask
Reply: TypeAlias = BodyReply | RowsReply | RefusedReply | FailedReply


async def split_apart(path: Path) -> Body:
    """As `split_body`, in a process of its own.

    Cancellation: the process is ended.
    """
    reply = await _ask(SplitTask(body=str(path)), about=path)
    if not isinstance(reply, BodyReply):
        raise _no_reply(path, reason="answered something else")
    return Body(fields=reply.fields, inputs=reply.inputs)


async def write_apart(
    body: Path,
    array: ArrayBody,
    target: Path,
    *,
    fields: Sequence[Field] | None,
    most_rows: int | None,
) -> StoredRows:
    """As `write_rows`, in a process of its own.

    Cancellation: the process is ended; an unfinished file may be left, which the
    next attempt writes over.
    """
    task = StoreTask(
        body=str(body),
        array=array,
        target=str(target),
        fields=None if fields is None else list(fields),
        most_rows=most_rows,
    )
    reply = await _ask(task, about=body)
    if not isinstance(reply, RowsReply):
        raise _no_reply(body, reason="answered something else")
    return StoredRows(rows=reply.rows)


async def _ask(task: Task, *, about: Path) -> BodyReply | RowsReply:
    # The child finds this package where we found it.
    search = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        # One for each processor: more of them take memory and win nothing.
        async with current_default_process_limiter():
            finished = await anyio.run_process(
                [sys.executable, "-P", "-m", _MODULE],
                input=msgspec.msgpack.encode(task),
                check=False,
                env={**os.environ, "PYTHONPATH": search},
            )
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise _no_reply(about, reason=f"cannot be started: {reason}") from error
    if finished.returncode:
        raise _no_reply(about, reason=f"ended with status {finished.returncode}")
    reply: Reply = msgspec.msgpack.decode(finished.stdout, type=Reply)
    if isinstance(reply, RefusedReply):
        raise ApiError(reply.status, reply.code, reply.detail)
    if isinstance(reply, FailedReply):
        raise StoreError(reply.message, path=reply.path)
    return reply


def _no_reply(body: Path, *, reason: str) -> StoreError:
    return StoreError(
        f"cannot read the received body {body}: the process for it {reason}",
        path=str(body),
    )


def answer(task: Task) -> Reply:
    """Do what is asked. Blocking."""
    try:
        if isinstance(task, SplitTask):
            body = split_body(Path(task.body))
            return BodyReply(fields=body.fields, inputs=body.inputs)
        stored = write_rows(
            Path(task.body),
            task.array,
            Path(task.target),
            fields=task.fields,
            most_rows=task.most_rows,
        )
        return RowsReply(rows=stored.rows)
    except ApiError as error:
        return RefusedReply(status=error.status, code=error.code, detail=error.detail)
    except StoreError as error:
        return FailedReply(message=str(error), path=error.path)


def main() -> None:
    """Answer the task on the standard input."""
    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Task)
    sys.stdout.buffer.write(msgspec.msgpack.encode(answer(task)))


if __name__ == "__main__":
    main()
