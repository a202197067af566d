"""Decisions of a download: what a reply means, how to go on, what the file is.

No I/O here; `url` sends, writes and waits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from sutro_stream.errors import ProtocolError, ServiceError

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_SUFFIXES = {
    ".csv": ".csv",
    ".csv.gz": ".csv",
    ".csv.zst": ".csv",
    ".tsv": ".tsv",
    ".tsv.gz": ".tsv",
    ".tsv.zst": ".tsv",
    ".parquet": ".parquet",
    ".pq": ".parquet",
}
_CONTENT_TYPES = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "text/plain": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/vnd.apache.parquet": ".parquet",
    "application/x-parquet": ".parquet",
    "application/parquet": ".parquet",
}
_PARQUET_MAGIC = b"PAR1"
_PAGE_STARTS = (b"<!doctype html", b"<html")


class Verdict(Enum):
    """What to do with a reply."""

    START = auto()
    """Its body is the file from the first byte: drop what is there."""
    GO_ON = auto()
    """Its body goes on where the last one stopped."""
    COMPLETE = auto()
    """Everything is there already."""
    BEGIN_ANEW = auto()
    """It does not fit what is there: drop that, and ask for the whole."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a download is.

    Attributes:
        received: Bytes stored, all of one version of the file.
        total: Bytes of the file, `None` when the server does not say.
        validator: What tells this version of the file from others, `None` when
            the server gives nothing; then a download cannot be resumed.
    """

    received: int = 0
    total: int | None = None
    validator: str | None = None

    def begin_anew(self) -> None:
        """Forget everything."""
        self.received, self.total, self.validator = 0, None, None

    def request_headers(self) -> dict[str, str]:
        """Headers that ask for what is missing."""
        headers = {"Accept-Encoding": "identity"}
        if self.received and self.validator is not None:
            headers["Range"] = f"bytes={self.received}-"
            headers["If-Range"] = self.validator
        return headers

    def is_short(self) -> bool:
        """Whether bytes are known to be missing."""
        return self.total is not None and self.received < self.total

    def take(self, status: int, headers: Mapping[str, str]) -> Verdict:
        """Judge a reply and note what it says of the file.

        Args:
            status: HTTP status, redirects followed.
            headers: Case-insensitive.

        Raises:
            ServiceError: The status is an error.
            ProtocolError: The reply is nothing that was asked for.
        """
        if status == HTTPStatus.OK:
            self.begin_anew()
            self.total = _number(headers.get("Content-Length"))
            self.validator = _validator(headers)
            return Verdict.START
        if status == HTTPStatus.PARTIAL_CONTENT:
            start, total = _content_range(headers)
            same = self.validator in (None, _validator(headers) or self.validator)
            known = self.total in (None, total)
            if self.received and start == self.received and same and known:
                self.total = total
                return Verdict.GO_ON
            return Verdict.BEGIN_ANEW
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and self.received:
            _, total = _content_range(headers)
            return Verdict.COMPLETE if total == self.received else Verdict.BEGIN_ANEW
        if status < HTTPStatus.BAD_REQUEST:
            raise ProtocolError(f"the server answered with status {status} and no file")
        raise ServiceError(
            f"the server answered with status {status}{_phrase(status)}",
            status=status,
            retry_after_s=_seconds(headers.get("Retry-After")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the server says of the file.

    Attributes:
        names: Paths and file names it goes by, the most telling first.
        content_type: Media type without parameters, lower-case; "" when not given.
    """

    names: Sequence[str]
    content_type: str


def file_suffix(offer: Offer, start: bytes, *, declared: str | None) -> str | None:
    """What the file is, as `.csv`, `.tsv` or `.parquet`; `None` when nothing tells.

    Its names come first, then its content, then its content type.

    Args:
        offer: What the server says.
        start: First bytes of the file.
        declared: What the user says; it wins, and leaves open whether CSV is TSV.
    """
    named = next((found for name in offer.names if (found := _by_name(name))), None)
    if declared == "parquet":
        return ".parquet"
    if declared == "csv":
        typed = _CONTENT_TYPES.get(offer.content_type)
        return ".tsv" if ".tsv" in (named, None if named else typed) else ".csv"
    if named is not None:
        return named
    if start.startswith(_PARQUET_MAGIC):
        return ".parquet"
    return _CONTENT_TYPES.get(offer.content_type)


def is_web_page(start: bytes) -> bool:
    """Whether the content is a page for people: of a login, of an error."""
    return start.lstrip().lower().startswith(_PAGE_STARTS)


def shown_url(url: str) -> str:
    """The address without user, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _by_name(name: str) -> str | None:
    suffixes = [suffix.lower() for suffix in PurePosixPath(unquote(name)).suffixes]
    for count in (2, 1):
        found = _SUFFIXES.get("".join(suffixes[-count:]))
        if found is not None:
            return found
    return None


def _validator(headers: Mapping[str, str]) -> str | None:
    """A strong ETag, or else the time of the last change."""
    tag = headers.get("ETag")
    if tag is not None and tag.startswith('"'):
        return tag
    return headers.get("Last-Modified")


def _content_range(headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        return None, None
    return _number(match.group(1)), _number(match.group(2))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _seconds(text: str | None) -> float | None:
    seconds = _number(text)
    return None if seconds is None else float(seconds)


def _phrase(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""
