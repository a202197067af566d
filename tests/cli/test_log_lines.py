"""The server's log, for people and for programs."""

from __future__ import annotations

import json
import logging
from typing import Any

from sutro_stream.cli.log_lines import JsonLines, PlainLines

CREATED_S = 1_767_323_045.678


def record(message: str, *arguments: object, **fields: Any) -> logging.LogRecord:
    """An event of the server's."""
    made = logging.LogRecord(
        "sutro_stream.server", logging.INFO, "", 0, message, arguments, None
    )
    made.created = CREATED_S
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_an_event_is_one_object() -> None:
    """With its time in UTC and the fields that it names."""
    event = record("GET %s", "/x", request_id="req_1", status=200, account=None)
    assert json.loads(JsonLines().format(event)) == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "INFO",
        "logger": "sutro_stream.server",
        "message": "GET /x",
        "request_id": "req_1",
        "status": 200,
    }


def test_other_fields_stay_inside() -> None:
    """A library may put anything into a record, also a key."""
    line = JsonLines().format(record("m", authorization="Key sk_live_x"))
    assert "sk_live_x" not in line


def test_an_event_is_one_line() -> None:
    """Whatever a path or a traceback has in it."""
    event = record("broken\n\x1b[31m \ud800")
    event.exc_info = (ValueError, ValueError("a\nb"), None)
    line = JsonLines().format(event)
    assert line.isascii()
    assert line.isprintable()
    assert "ValueError" in json.loads(line)["traceback"]


def test_plain_lines_are_for_people() -> None:
    """Without what would move a terminal's cursor."""
    line = PlainLines().format(record("broken \x1b[31m"))
    assert line.endswith(" INFO broken \N{REPLACEMENT CHARACTER}[31m")
