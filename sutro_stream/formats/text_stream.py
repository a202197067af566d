"""The text of a CSV file as UTF-8 bytes, whatever it is encoded and packed in."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import pyarrow as pa

from sutro_stream.storage.files import LocalFile
from sutro_stream.storage.stored import unreadable

_PACKED = {".gz": "gzip", ".zst": "zstd"}
_PACKED_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_FOREIGN_MAGIC = {
    b"PAR1": "this is a Parquet file, not CSV",
    b"PK\x03\x04": "this is a ZIP archive or an Excel workbook, not CSV",
}
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_8_NAMES = frozenset({"utf-8", "utf-8-sig"})
_MAGIC_BYTES = 4


class BrokenTextError(Exception):
    """The bytes are not text in the encoding; caught where lines are counted.

    Attributes:
        good: The text before the broken place that was not delivered, as UTF-8.
    """

    def __init__(self, good: bytes) -> None:
        super().__init__()
        self.good = good


class ByteStream(Protocol):
    """Bytes in order."""

    def read(self, size: int, /) -> bytes:
        """About `size` bytes, `b""` at the end only.

        Raises:
            BrokenTextError: The text cannot be decoded.
            SourceError: The file cannot be read, or its compression is damaged.
        """


@contextmanager
def open_text(file: LocalFile, encoding: str) -> Iterator[ByteStream]:
    """The file's text as UTF-8, without its byte order mark. Blocking.

    Text that is said to be UTF-8 is passed on unchecked.

    Raises:
        SourceError: It cannot be opened, or is something else than text.
    """
    with ExitStack() as stack:
        try:
            raw: Any = stack.enter_context(file.path.open("rb"))
            packing = _packing(file, raw.peek(_MAGIC_BYTES)[:_MAGIC_BYTES])
        except OSError as error:
            raise unreadable(file.label, error) from error
        if packing is not None:
            raw = stack.enter_context(pa.CompressedInputStream(raw, packing))
        source = _FileStream(file, raw)
        if codecs.lookup(encoding).name in _UTF_8_NAMES:
            yield _Unmarked(file, source)
        else:
            yield _Unmarked(file, _Decoded(source, encoding))


def broken_text_reason(encoding: str, start: bytes) -> str:
    """Why text could not be decoded, and what to try.

    Args:
        encoding: The one that was tried.
        start: First bytes of the file.
    """
    if start.startswith(_UTF_16_MARKS):
        return f"not valid {encoding} text; the file begins like utf-16"
    return f"not valid {encoding} text; pass the encoding the file has (cp1252, ...)"


def _packing(file: LocalFile, magic: bytes) -> str | None:
    by_content = next(
        (name for mark, name in _PACKED_MAGIC.items() if magic.startswith(mark)), None
    )
    by_name = _PACKED.get(file.path.suffix.lower())
    if by_name is not None and magic and by_content != by_name:
        raise file.error(f"its content is not {by_name} as its name says")
    return by_content


class _FileStream:
    """Bytes of the file, unpacked."""

    def __init__(self, file: LocalFile, raw: Any) -> None:
        self._file = file
        self._raw = raw

    def read(self, size: int, /) -> bytes:
        try:
            return bytes(self._raw.read(size))
        except OSError as error:
            if error.errno is not None:
                raise unreadable(self._file.label, error) from error
            reason = "the compressed file is cut off or damaged"
            raise self._file.error(reason) from error


class _Decoded:
    """Text in some encoding, as UTF-8."""

    def __init__(self, source: ByteStream, encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="strict")

    def read(self, size: int, /) -> bytes:
        while True:
            data = self._source.read(size)
            state = self._decoder.getstate()
            try:
                text = self._decoder.decode(data, final=not data).encode()
            except UnicodeError:
                self._decoder.setstate(state)
                raise BrokenTextError(self._good_part(data)) from None
            if text or not data:
                return text

    def _good_part(self, data: bytes) -> bytes:
        good = bytearray()
        try:
            for at in range(len(data)):
                good += self._decoder.decode(data[at : at + 1]).encode()
        except UnicodeError:
            pass
        return bytes(good)


class _Unmarked:
    """The same bytes without a byte order mark at the start."""

    def __init__(self, file: LocalFile, source: ByteStream) -> None:
        self._file = file
        self._source = source
        self._started = False

    def read(self, size: int, /) -> bytes:
        if self._started:
            return self._source.read(size)
        self._started = True
        data = b""
        while len(data) < _MAGIC_BYTES and (more := self._source.read(size)):
            data += more
        for magic, reason in _FOREIGN_MAGIC.items():
            if data.startswith(magic):
                raise self._file.error(reason)
        return data.removeprefix(codecs.BOM_UTF8) or self._source.read(size)


def is_text_encoding(name: str) -> bool:
    """Whether Python can decode text with it."""
    try:
        "x".encode(name)
        codecs.getincrementaldecoder(name)
    except (LookupError, ValueError):
        return False
    return True
