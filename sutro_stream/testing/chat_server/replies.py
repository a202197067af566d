"""What a script can make the server do: a `Reply`, and the ways it can go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import anyio

from sutro_stream.errors import ConfigurationError

_STATUSES = range(200, 600)
_SUCCESSES = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Close the TCP connection before the answer is complete.

    Attributes:
        at: `before_headers`: not a byte is sent; `after_headers`: status and
            headers only; `mid_body`: half of the body.
        reset: Close with a TCP reset instead of an orderly end.
    """

    at: Literal["before_headers", "after_headers", "mid_body"] = "before_headers"
    reset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageBody:
    """Send this body, whatever was asked, under the reply's status.

    Attributes:
        body: The bytes to send.
        content_type: Its declared type, without parameters.
    """

    body: bytes = b"<html><body>It works!</body></html>"
    content_type: str = "text/html"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowBody:
    """Send the headers at once, then drip the body.

    The body is cut at byte positions, so that events and characters are split.

    Attributes:
        duration_s: Time between the headers and the last byte, in seconds.
        pieces: Number of equal parts; at least 1.
    """

    duration_s: float
    pieces: int = 10

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if self.duration_s < 0 or self.pieces < 1:
            message = "SlowBody needs duration_s of at least 0 and pieces of at least 1"
            raise ConfigurationError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class HugeBody:
    """Put padding in front of a correct body.

    JSON is padded with spaces and an event stream with comments, so the whole
    remains valid. For a long answer instead, give `Reply.text` a long text. The
    padding is made while it is sent: the server's memory stays flat.

    Attributes:
        padding_bytes: Padding to send, rounded up to whole blocks of 64 KiB.
    """

    padding_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """Never answer: wait until the client leaves or the server stops."""


Fault = Cut | GarbageBody | SlowBody | HugeBody | Hang


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How the server answers one request.

    Attributes:
        text: The model's answer. `None` echoes the prompt (`echo: ...`), or, where
            the request asks for JSON, is a minimal instance of its schema.
        latency_s: Time before the first byte, in seconds.
        after: Answer only once this event is set; `None` does not wait. For tests
            that hold requests in flight instead of sleeping.
        status: HTTP status; 300 and above send OpenAI's error body.
        message: Text of the error; `None` for a standard one.
        code: Machine-readable code in the error; `None` for a standard one.
        retry_after: `Retry-After` header: seconds, or text sent as it is (a date,
            or nonsense); `None` sends none.
        headers: Further response headers; `None` for no more.
        finish_reason: Why the model stopped, as the answer reports it.
        fault: What goes wrong on the wire; `None` for nothing.
    """

    text: str | None = None
    latency_s: float = 0.0
    after: anyio.Event | None = None
    status: int = 200
    message: str | None = None
    code: str | None = None
    retry_after: str | float | None = None
    headers: Mapping[str, str] | None = None
    finish_reason: str = "stop"
    fault: Fault | None = None

    def __post_init__(self) -> None:
        """Refuse what HTTP cannot carry."""
        if self.latency_s < 0:
            message = f"latency_s must not be negative, got {self.latency_s}"
            raise ConfigurationError(message)
        if self.status not in _STATUSES:
            message = f"status must be from 200 to 599, got {self.status}"
            raise ConfigurationError(message)
        if self.headers is not None or isinstance(self.retry_after, str):
            texts = [str(self.retry_after), *(self.headers or {}).values()]
            if any("\r" in text or "\n" in text for text in texts):
                message = "a header must not contain a line break"
                raise ConfigurationError(message)

    @property
    def is_error(self) -> bool:
        """Whether the reply carries an error instead of an answer."""
        return self.status not in _SUCCESSES
