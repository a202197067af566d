"""The server's log, for people or for programs; one line for each event."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from sutro_stream.cli.messages import complain, printable

LogFormat: TypeAlias = Literal["plain", "json"]

_LOGGER = "sutro_stream"
# One line for each of something: a lot of lines.
_TALKATIVE = ("sutro_stream.server.requests", "sutro_stream.jobs.runner")

# What an event may say beside its message. Named here, so that nothing else of what
# somebody puts into a record gets out.
_FIELDS = (
    "request_id",
    "account",
    "job_id",
    "method",
    "path",
    "status",
    "took_ms",
)


class PlainLines(logging.Formatter):
    """Time, level and message; a traceback behind them, if any."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The event, with nothing in it that a terminal would obey."""
        return printable(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message and fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The event; ASCII, without line breaks."""
        when = datetime.fromtimestamp(record.created, UTC)
        event: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                event[name] = value
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


class _Complaints(logging.Handler):
    """Prints warnings as the command's own messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        complain(record.getMessage(), label=record.levelname.lower())


@contextmanager
def warnings_to_stderr() -> Iterator[None]:
    """Print what the package warns of inside, unless its log goes somewhere else."""
    logger = logging.getLogger(_LOGGER)
    handler = _Complaints(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def log_to_stderr(log_format: LogFormat, *, requests: bool) -> None:
    """Send the log of the whole package to stderr.

    Args:
        log_format: How its lines look.
        requests: Whether each request is an event, and each end of a job.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if log_format == "json" else PlainLines())
    logger = logging.getLogger(_LOGGER)
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    level = logging.INFO if requests else logging.WARNING
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(level)
