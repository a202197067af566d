"""A Parquet file of one column, put together of pages that another file holds.

So that Arrow's reader decodes some pages of a column in another way than it decodes the
column.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

CODECS = {"UNCOMPRESSED": 0, "SNAPPY": 1, "GZIP": 2, "BROTLI": 4, "ZSTD": 6}
"""By pyarrow's names. One it has no name for (LZ4 in Hadoop's frames) is not there."""

PhysicalType: TypeAlias = Literal["INT32", "BYTE_ARRAY"]

_MAGIC = b"PAR1"
_TYPES: dict[PhysicalType, int] = {"INT32": 1, "BYTE_ARRAY": 6}
_REQUIRED, _OPTIONAL = 0, 1
_PLAIN, _RLE, _RLE_DICTIONARY = 0, 3, 8
_DATA, _DICTIONARY = 0, 2
_INT, _LONG, _TEXT, _LIST, _STRUCT = 5, 6, 8, 9, 12
_NAME = (_TEXT, b"\x01v")


def plain_page(data: bytes, *, unpacked_bytes: int, values: int) -> bytes:
    """A data page of values that are written one after the other, none of them null.

    Args:
        data: Packed by the codec of the file.
        unpacked_bytes: What it unpacks to.
        values: In it.
    """
    details = _struct(
        (1, _int(values)), (2, _int(_PLAIN)), (3, _int(_RLE)), (4, _int(_RLE))
    )
    return _page(_DATA, data, unpacked_bytes, (5, details))


def dictionary_page(data: bytes, *, unpacked_bytes: int, values: int) -> bytes:
    """The same values as what data pages refer to."""
    details = _struct((1, _int(values)), (2, _int(_PLAIN)))
    return _page(_DICTIONARY, data, unpacked_bytes, (7, details))


def single_column(
    data_pages: bytes,
    *,
    dictionary: bytes = b"",
    physical_type: PhysicalType,
    codec: str,
    values: int,
    is_nullable: bool = False,
) -> bytes:
    """The file.

    Args:
        data_pages: With their headers.
        dictionary: The page they refer to, likewise.
        physical_type: Of its values.
        codec: What packs the pages: one of `CODECS`.
        values: In the data pages, null ones among them.
        is_nullable: Whether the data pages tell which values are null.
    """
    start = len(_MAGIC)
    size = len(dictionary) + len(data_pages)
    kind = _int(_TYPES[physical_type])
    column = [
        (1, kind),
        (2, _list(_int(_PLAIN), _int(_RLE), _int(_RLE_DICTIONARY))),
        (3, _list(_NAME)),
        (4, _int(CODECS[codec])),
        (5, _long(values)),
        (6, _long(size)),
        (7, _long(size)),
        (9, _long(start + len(dictionary))),
    ]
    if dictionary:
        column.append((11, _long(start)))
    root = _struct((4, _NAME), (5, _int(1)))
    repetition = _OPTIONAL if is_nullable else _REQUIRED
    leaf = _struct((1, kind), (3, _int(repetition)), (4, _NAME))
    chunk = _struct((2, _long(start)), (3, _struct(*column)))
    group = _struct((1, _list(chunk)), (2, _long(size)), (3, _long(values)))
    footer = _struct(
        (1, _int(2)), (2, _list(root, leaf)), (3, _long(values)), (4, _list(group))
    )[1]
    length = len(footer).to_bytes(4, "little")
    return b"".join((_MAGIC, dictionary, data_pages, footer, length, _MAGIC))


def read_single(file: bytes) -> pa.ChunkedArray:
    """The column of such a file.

    Raises:
        ArrowException: It is damaged.
        OSError: It cannot be unpacked.
    """
    with pq.ParquetFile(pa.BufferReader(file), pre_buffer=False) as parquet:
        return parquet.read(use_threads=False).column(0)


_Value: TypeAlias = tuple[int, bytes]
"""Its type in Thrift's compact encoding, and its bytes."""


def _page(
    kind: int, data: bytes, unpacked_bytes: int, details: tuple[int, _Value]
) -> bytes:
    sizes = (2, _int(unpacked_bytes)), (3, _int(len(data)))
    return _struct((1, _int(kind)), *sizes, details)[1] + data


def _int(number: int) -> _Value:
    return (_INT, _varint(number << 1))


def _long(number: int) -> _Value:
    return (_LONG, _varint(number << 1))


def _list(*values: _Value) -> _Value:
    head = bytes([len(values) << 4 | values[0][0]])
    return (_LIST, head + b"".join(data for _, data in values))


def _struct(*fields: tuple[int, _Value]) -> _Value:
    parts: list[bytes] = []
    before = 0
    for number, (kind, data) in fields:
        parts += (bytes([number - before << 4 | kind]), data)
        before = number
    return (_STRUCT, b"".join((*parts, b"\0")))


def _varint(number: int) -> bytes:
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)
