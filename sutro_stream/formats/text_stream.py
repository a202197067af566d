"""The text of a file as UTF-8 bytes, whatever it is encoded and packed in."""

from __future__ import annotations

import codecs
import lzma
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import pyarrow as pa

from sutro_stream.storage.stored import StoredFile, file_error, unreadable

PACKED: Mapping[str, str] = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".bz2": "bz2",
    ".xz": "xz",
}
"""What packs files as a whole, by the suffix behind that of the format."""

_PACKED_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ": "xz",
}
_FOREIGN_MAGIC = {
    b"PAR1": "this is a Parquet file, not text",
    b"PK\x03\x04": "this is a ZIP archive or an Excel workbook, not text",
    b"\xd0\xcf\x11\xe0": "this is an old Excel workbook, not text",
    b"ARROW1": "this is an Arrow file, not text",
    b"SQLite": "this is an SQLite database, not text",
}
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_UTF_8_NAMES = frozenset({"utf-8", "utf-8-sig"})
_MAGIC_BYTES = 6


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
def open_text(
    file: StoredFile, encoding: str, *, replacing: bool = False
) -> Iterator[ByteStream]:
    """The file's text as UTF-8, without its byte order mark. Blocking.

    Bytes that are no text are passed on as bytes that are no UTF-8: in what is said to
    be UTF-8 unchecked, in other encodings wherever the decoder can go on behind them.

    Args:
        file: What to open.
        encoding: Python's name; a mark of UTF-16 or 32 wins over the usual one.
        replacing: Whether bytes that are no text are U+FFFD, in other encodings.

    Raises:
        SourceError: It cannot be opened, or is something else than text.
    """
    with ExitStack() as stack:
        try:
            raw: Any = stack.enter_context(file.open())
            start = raw.read(_MAGIC_BYTES)
            raw.seek(0)
        except OSError as error:
            raise unreadable(file.label, error) from error
        packing = _packing(file, start)
        if packing == "xz":
            raw = stack.enter_context(lzma.LZMAFile(raw))
        elif packing is not None:
            raw = stack.enter_context(pa.CompressedInputStream(raw, packing))
        yield _Text(_FileStream(file, raw), file, encoding, replacing=replacing)


def is_utf_8(encoding: str) -> bool:
    """Whether it is a name of the usual encoding."""
    return codecs.lookup(encoding).name in _UTF_8_NAMES


def _packing(file: StoredFile, magic: bytes) -> str | None:
    by_content = next(
        (name for mark, name in _PACKED_MAGIC.items() if magic.startswith(mark)), None
    )
    by_name = next(
        (name for end, name in PACKED.items() if file.name.lower().endswith(end)), None
    )
    if by_name is not None and magic and by_content != by_name:
        raise file_error(file, f"its content is not {by_name} as its name says")
    return by_content


class _FileStream:
    """Bytes of the file, unpacked."""

    def __init__(self, file: StoredFile, raw: Any) -> None:
        self._file = file
        self._raw = raw

    def read(self, size: int, /) -> bytes:
        try:
            return bytes(self._raw.read(size))
        except (OSError, EOFError, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise unreadable(self._file.label, error) from error
            reason = "the compressed file is cut off or damaged"
            raise file_error(self._file, reason) from error


class _Decoded:
    """Text in some encoding, as UTF-8."""

    def __init__(self, source: ByteStream, encoding: str, *, replacing: bool) -> None:
        self._source = source
        # A byte that is no text becomes a lone surrogate, which UTF-8 does not have.
        errors = "replace" if replacing else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors=errors)

    def read(self, size: int, /) -> bytes:
        while True:
            data = self._source.read(size)
            state = self._decoder.getstate()
            try:
                text = self._utf_8(data, final=not data)
            except UnicodeError:
                self._decoder.setstate(state)
                raise BrokenTextError(self._good_part(data)) from None
            if text or not data:
                return text

    def _utf_8(self, data: bytes, *, final: bool = False) -> bytes:
        return self._decoder.decode(data, final=final).encode(errors="surrogatepass")

    def _good_part(self, data: bytes) -> bytes:
        good = bytearray()
        try:
            for at in range(len(data)):
                good += self._utf_8(data[at : at + 1])
        except UnicodeError:
            pass
        return bytes(good)


class _Text:
    """The file's text; what it is, its first bytes tell."""

    def __init__(
        self, source: ByteStream, file: StoredFile, encoding: str, *, replacing: bool
    ) -> None:
        self._source = source
        self._file = file
        self._encoding = encoding
        self._replacing = replacing
        self._begin: bytes | None = None
        self._started = False

    def read(self, size: int, /) -> bytes:
        if not self._started:
            self._start(size)
        if self._begin:
            begin, self._begin = self._begin, None
            return begin
        return self._source.read(size)

    def _start(self, size: int) -> None:
        self._started = True
        data = b""
        while len(data) < _MAGIC_BYTES and (more := self._source.read(size)):
            data += more
        for magic, reason in _FOREIGN_MAGIC.items():
            if data.startswith(magic):
                raise file_error(self._file, reason)
        encoding = self._encoding
        if is_utf_8(encoding):
            marked = (name for mark, name in _MARKS.items() if data.startswith(mark))
            encoding = next(marked, encoding)
        if is_utf_8(encoding):
            self._begin = data.removeprefix(codecs.BOM_UTF8)
            return
        source = _Begun(data, self._source)
        self._source = _Decoded(source, encoding, replacing=self._replacing)
        self._begin = self._source.read(size).removeprefix(codecs.BOM_UTF8)


class _Begun:
    """A stream whose first bytes were taken already."""

    def __init__(self, begin: bytes, source: ByteStream) -> None:
        self._begin = begin
        self._source = source

    def read(self, size: int, /) -> bytes:
        if self._begin:
            begin, self._begin = self._begin, b""
            return begin
        return self._source.read(size)


def is_text_encoding(name: str) -> bool:
    """Whether Python can decode text with it."""
    try:
        "x".encode(name)
        codecs.getincrementaldecoder(name)
    except (LookupError, ValueError):
        return False
    return True
