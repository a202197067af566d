"""Images of a column as parts of a message: addresses, files, bytes."""

from __future__ import annotations

import base64
import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.rendering.json_text import joined, quoted
from sutro_stream.rendering.prompting import Refusal
from sutro_stream.rendering.text import TEXT, text_of
from sutro_stream.values.outcomes import ErrorKind, RowError

MOST_IMAGE_BYTES = 20 << 20
"""Largest image that is sent; what OpenAI took of an image for long, and most do."""

FILE_SCHEME = "file:"
"""What a picture's address begins with while it is still in a file of this machine."""

_HEAD_BYTES = 32
_DATA = "data:image/"
_URI = "file://"
_ELSEWHERE = ("http://", "https://")
# Of RIFF and ISO media files the kind stands behind their sizes.
_KINDS = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"GIF8", "gif"),
    (8, b"WEBP", "webp"),
    (0, b"BM", "bmp"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (4, b"ftypavif", "avif"),
    (4, b"ftypheic", "heic"),
    (4, b"ftypmif1", "heif"),
)
_NAMES = "PNG, JPEG, GIF, WebP, BMP, TIFF, AVIF or HEIC"

NONE = "has no image"
_OTHER = "is no image: neither an http(s) address, nor a file, nor the bytes of one"
_UNKNOWN = f"is no image of a known kind ({_NAMES})"
_LARGE = f"is an image above {MOST_IMAGE_BYTES >> 20} MB"
_ABSENT = "names a file that is not there"
_UNREADABLE = "names a file that cannot be read"


def image_refusals(
    name: str, faults: Mapping[str, pa.Array], *, is_required: bool = True
) -> list[Refusal]:
    """Why rows are refused for what a column has in place of an image.

    Args:
        name: Of the column.
        faults: As from `image_parts`.
        is_required: Whether a row without an image is refused.
    """
    refusals: list[Refusal] = []
    for reason, mask in faults.items():
        kind = ErrorKind.WRONG_TYPE
        if reason == NONE:
            if not is_required:
                continue
            kind = ErrorKind.MISSING_VALUE
        message = f"the column {name!r} {reason}"
        refusals.append((mask, RowError(kind=kind, message=message, field=name)))
    return refusals


class ImageError(ValueError):
    """Something is no image that can be sent; the message says what is wrong."""


def image_parts(column: pa.Array) -> tuple[pa.Array, Mapping[str, pa.Array]]:
    """A message's part for each image of a column, as JSON; files are looked at only.

    Blocking: opens files.

    Returns:
        Texts; and where there is none, as masks by what is wrong.
    """
    texts: list[str | None] = []
    faults: list[str | None] = []
    for cell in column.to_pylist():
        text, fault = None, None
        try:
            text = _part(cell)
        except ImageError as error:
            fault = str(error)
        texts.append(text)
        faults.append(fault)
    return pa.array(texts, TEXT), {
        reason: pa.array([fault == reason for fault in faults], pa.bool_())
        for reason in sorted({fault for fault in faults if fault is not None})
    }


def data_address(data: bytes) -> str:
    """Bytes of an image as an address that holds them.

    Raises:
        ImageError: They are none, or too many.
    """
    _check_size(len(data))
    return f"{_DATA}{_kind(data)};base64,{base64.b64encode(data).decode()}"


def read_image(path: str) -> bytes:
    """The bytes of an image file. Blocking.

    Raises:
        ImageError: There is no such image.
    """
    with _opened(path) as file:
        return file.read(MOST_IMAGE_BYTES + 1)


def _part(cell: Any) -> str:
    # As datasets of Hugging Face have them.
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path") or cell.get("url")
    if isinstance(cell, bytes):
        address = data_address(cell) if cell else ""
    else:
        address = _address((text_of(cell) or "").strip())
    if not address:
        raise ImageError(NONE)
    url = orjson.dumps(address).decode()
    return f'{{"type":"image_url","image_url":{{"url":{url}}}}}'


def _address(text: str) -> str:
    if not text or text.lower().startswith(_ELSEWHERE):
        return text
    if text.startswith(_DATA):
        _check_size(len(text) * 3 // 4)
        return text
    path = unquote(text[len(_URI) :]) if text.startswith(_URI) else text
    with _opened(path) as file:
        _kind(file.read(_HEAD_BYTES))
        _check_size(os.fstat(file.fileno()).st_size)
    return FILE_SCHEME + str(Path(path).absolute())


def _opened(path: str) -> BinaryIO:
    # Opening a pipe would wait for somebody who writes to it.
    if not stat.S_ISREG(_mode(path)):
        raise ImageError(_UNREADABLE)
    try:
        return Path(path).open("rb")
    except OSError:
        raise ImageError(_UNREADABLE) from None


def _mode(path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except FileNotFoundError:
        raise ImageError(_ABSENT) from None
    except ValueError:
        raise ImageError(_OTHER) from None
    except OSError as error:
        # A text that is no path at all.
        is_path = error.errno != errno.ENAMETOOLONG
        raise ImageError(_UNREADABLE if is_path else _OTHER) from None


def _kind(head: bytes) -> str:
    for start, mark, kind in _KINDS:
        if head[start : start + len(mark)] == mark:
            return kind
    raise ImageError(_UNKNOWN)


def _check_size(size_bytes: int) -> None:
    if size_bytes > MOST_IMAGE_BYTES:
        raise ImageError(_LARGE)


def content(texts: pa.Array, images: Sequence[pa.Array]) -> pa.Array:
    """The content of each row's message as a JSON array: its text, then its images.

    Args:
        texts: "" or null for none.
        images: Parts, null for none.
    """
    told = joined('{"type":"text","text":', quoted(texts), "}")
    is_told = pc.fill_null(pc.not_equal(texts, pa.scalar("", TEXT)), fill_value=False)
    told = pc.if_else(is_told, told, pa.scalar(None, TEXT))
    parts = (told, *images, pa.scalar(",", TEXT))
    return joined("[", pc.binary_join_element_wise(*parts, null_handling="skip"), "]")
