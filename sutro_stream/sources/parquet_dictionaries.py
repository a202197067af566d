"""The longest value in a Parquet dictionary: what any row that refers to it may be.

A dictionary page is written like a page of ordinary values. So its packed bytes are put
behind the header of a data page, in a file of one column that lies in memory, and
Arrow's reader decodes them. Asking that reader for the dictionary itself takes several
times as long: it hashes every value.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# By pyarrow's name. What it has no name for (LZ4 in Hadoop's frames) is not unpacked.
_CODECS = {"UNCOMPRESSED": 0, "SNAPPY": 1, "GZIP": 2, "BROTLI": 4, "ZSTD": 6}

_LENGTH_BYTES = 4
_MAGIC = b"PAR1"
_BYTES, _REQUIRED, _PLAIN, _RLE = 6, 0, 0, 3
_INT, _LONG, _TEXT, _LIST, _STRUCT = 5, 6, 8, 9, 12
_NAME = (_TEXT, b"\x01v")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedDictionary:
    """The dictionary of one text column in one row group, as the file holds it.

    Attributes:
        codec: What packed it, by pyarrow's name.
        data: Packed.
        unpacked_bytes: As its header says.
        values: In it, as its header says.
    """

    codec: str
    data: bytes
    unpacked_bytes: int
    values: int

    def longest_bytes(self) -> int:
        """Bytes of its longest value; of all of it, where it cannot be unpacked here.

        Pure.

        Raises:
            ArrowException: The values are damaged.
            OSError: They cannot be unpacked.
        """
        if _LENGTH_BYTES * self.values > self.unpacked_bytes:
            # Arrow would make room for all of them before it notices.
            raise pa.ArrowInvalid("a dictionary of more values than fit into it")
        if self.codec not in _CODECS or not self.values:
            return self.unpacked_bytes
        with pq.ParquetFile(pa.BufferReader(self._file()), pre_buffer=False) as file:
            table = file.read(use_threads=False)
        return int(pc.max(pc.binary_length(table.column(0))).as_py())

    def _file(self) -> bytes:
        page = _struct(
            (1, _int(0)),
            (2, _int(self.unpacked_bytes)),
            (3, _int(len(self.data))),
            (
                5,
                _struct(
                    (1, _int(self.values)),
                    (2, _int(_PLAIN)),
                    (3, _int(_RLE)),
                    (4, _int(_RLE)),
                ),
            ),
        )[1]
        column = _struct(
            (1, _int(_BYTES)),
            (2, _list(_int(_PLAIN))),
            (3, _list(_NAME)),
            (4, _int(_CODECS[self.codec])),
            (5, _long(self.values)),
            (6, _long(len(page) + self.unpacked_bytes)),
            (7, _long(len(page) + len(self.data))),
            (9, _long(len(_MAGIC))),
        )
        root = _struct((4, _NAME), (5, _int(1)))
        leaf = _struct((1, _int(_BYTES)), (3, _int(_REQUIRED)), (4, _NAME))
        group = _struct(
            (1, _list(_struct((2, _long(len(_MAGIC))), (3, column)))),
            (2, _long(len(page) + self.unpacked_bytes)),
            (3, _long(self.values)),
        )
        footer = _struct(
            (1, _int(2)),
            (2, _list(root, leaf)),
            (3, _long(self.values)),
            (4, _list(group)),
        )[1]
        size = len(footer).to_bytes(4, "little")
        return b"".join((_MAGIC, page, self.data, footer, size, _MAGIC))


_Value = tuple[int, bytes]
"""Its type in Thrift's compact encoding, and its bytes."""


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
