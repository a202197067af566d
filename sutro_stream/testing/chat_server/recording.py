"""What a server was asked, on disk: known whatever becomes of its process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import orjson

from sutro_stream.testing.chat_server.replies import Reply
from sutro_stream.testing.chat_server.requests import ChatRequest
from sutro_stream.testing.chat_server.scripts import Script


class RecordedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as the server's record has it.

    Attributes:
        prompt: Text of the last user message.
        in_flight: Requests in flight when it arrived, itself included.
    """

    prompt: str
    in_flight: int


def recorded(script: Script, path: Path) -> Script:
    """Write each request down before the script decides about it.

    Requests are appended to what the file has, so that servers that follow each other
    can have one record. What was written survives `kill -9` of the server.

    Args:
        script: Decides the replies.
        path: File to append to; made where there is none.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def decide(request: ChatRequest) -> Reply | None:
        line = {"prompt": request.prompt, "in_flight": request.in_flight}
        os.write(file, orjson.dumps(line) + b"\n")
        return script(request)

    return decide


def read_record(path: Path) -> Sequence[RecordedRequest]:
    """What was asked, in order of arrival; nothing where there is no record yet."""
    if not path.exists():
        return ()
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    decoder = msgspec.json.Decoder(RecordedRequest)
    return decoder.decode_lines(whole)
