"""A process for large bodies: told what to do on its input, answers on its output.

Both in messages: their length, then MessagePack. See `intake_workers`.
"""

from __future__ import annotations

import signal
import struct
import sys
from pathlib import Path
from typing import TypeAlias

import msgspec

from sutro_stream.errors import StoreError
from sutro_stream.jobs.body import ArrayBody, split_body
from sutro_stream.jobs.disk_space import insufficient_storage, is_lack_of_space
from sutro_stream.jobs.row_columns import Field
from sutro_stream.jobs.row_file import write_rows
from sutro_stream.wire.api_error import ApiError

LENGTH = struct.Struct("<I")
"""Of a message, before it."""


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
        if is_lack_of_space(error):
            full = insufficient_storage()
            return RefusedReply(status=full.status, code=full.code, detail=full.detail)
        return FailedReply(message=str(error), path=error.path)


def main() -> None:
    """Answer tasks until there are no more."""
    # Ctrl-C is for whoever has started us, and ends us when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := tasks.read(LENGTH.size):
        (size,) = LENGTH.unpack(head)
        task = msgspec.msgpack.decode(tasks.read(size), type=Task)
        reply = msgspec.msgpack.encode(answer(task))
        answers.write(LENGTH.pack(len(reply)) + reply)
        answers.flush()


if __name__ == "__main__":
    main()
