"""The body of a submission: its few small fields, and where its rows lie."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from sutro_stream.errors import StoreError
from sutro_stream.wire.api_error import ApiError, invalid

MAX_FIELDS_BYTES = 16 << 20
"""Most bytes of a body beside its rows: prompts, schemas and names are small."""

_MAX_REFERENCE_BYTES = 64 << 10
_EMPTY = re.compile(rb"\[\s*+\]")
# What msgspec says where an escaped half of a surrogate pair stands alone as well.
_TRUNCATED = "Input data was truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayBody:
    """Where the rows lie in the file of the body.

    Attributes:
        start: Offset of the opening bracket, in bytes.
        end: Offset after the closing bracket, in bytes.
    """

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the array, brackets included."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A body taken apart.

    Attributes:
        fields: JSON object of all fields, `inputs` among them as null.
        inputs: The rows, or the text that says where they are.
    """

    fields: bytes
    inputs: ArrayBody | str


class _Envelope(msgspec.Struct):
    inputs: msgspec.Raw = msgspec.Raw()


def split_body(path: Path) -> Body:
    """Find the rows of a body without reading them into memory.

    Blocking. All of the body's structure is checked; the text of its rows is
    checked when they are stored. Of a name that comes twice, the last counts.

    Args:
        path: File of the body as it was received.

    Raises:
        ApiError: 400 where the body is not a JSON object, 422 where its `inputs`
            are missing, empty or of another type, 413 where the fields beside
            them are larger than `MAX_FIELDS_BYTES`.
        StoreError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise _not_json("it is empty")
            # Closed with its last view: errors below keep theirs a little longer.
            return _split(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        message = f"cannot read the received body {path}: {reason}"
        raise StoreError(message, path=str(path)) from error


def invalid_json(error: Exception) -> ApiError:
    """What a request is refused with whose body a decoder did not accept.

    Args:
        error: The decoder's; its message holds no content.
    """
    if isinstance(error, RecursionError):
        return _not_json("it is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return _not_json("it holds text that is not UTF-8")
    if str(error) == _TRUNCATED:
        return _not_json("its end is missing, or it holds half of a surrogate pair")
    return _not_json(str(error).removeprefix("JSON is malformed: "))


def _not_json(reason: str) -> ApiError:
    return ApiError(400, "invalid_json", f"the body is not a JSON object: {reason}")


def _split(data: mmap.mmap) -> Body:
    try:
        inputs = memoryview(msgspec.json.decode(data, type=_Envelope).inputs)
        if not inputs:
            raise _required()
        start = _offset(inputs, data)
        end = start + len(inputs)
        if len(data) - len(inputs) > MAX_FIELDS_BYTES:
            raise ApiError(
                413,
                "body_too_large",
                f"the fields beside inputs are larger than {MAX_FIELDS_BYTES} bytes",
            )
        fields = data[:start] + b"null" + data[end:]
        # Fields that are not asked for are skipped, not read: their text as well
        # has to be valid.
        msgspec.json.decode(fields)
        return Body(fields=fields, inputs=_rows_or_reference(data, inputs, start))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_json(error) from None


def _rows_or_reference(
    data: mmap.mmap, inputs: memoryview, start: int
) -> ArrayBody | str:
    first = bytes(inputs[:1])
    if first == b"n":
        raise _required()
    if first == b"[":
        if _EMPTY.match(data, start) is not None:
            raise invalid("inputs: must hold at least one row")
        return ArrayBody(start=start, end=start + len(inputs))
    if first != b'"':
        raise invalid(
            "inputs: must be an array, a dataset ID or an http(s) address of a CSV or "
            "Parquet file"
        )
    if len(inputs) > _MAX_REFERENCE_BYTES:
        raise invalid("inputs: too long for a dataset ID or an address")
    reference = msgspec.json.decode(inputs, type=str)
    if not reference:
        raise invalid("inputs: must not be empty")
    return reference


def _required() -> ApiError:
    return invalid("inputs: is required")


def _offset(part: memoryview, whole: mmap.mmap) -> int:
    """Where a view begins in what it looks at, in bytes."""
    return int(pa.py_buffer(part).address - pa.py_buffer(whole).address)
