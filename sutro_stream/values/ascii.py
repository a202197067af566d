"""Text that is ASCII: the usual case in which nothing else is to be checked."""

from __future__ import annotations

import struct

import pyarrow as pa

_OFFSETS = {pa.string(): struct.Struct("=i"), pa.large_string(): struct.Struct("=q")}


def is_ascii(texts: pa.Array) -> bool:
    """Whether a column of text is ASCII, and so valid UTF-8 wherever it is cut.

    All bytes are looked at in one go: a third of what it takes to check each value.

    Args:
        texts: Its offsets are sound. False for columns of other types.
    """
    offsets = _OFFSETS.get(texts.type)
    if offsets is None:
        return False
    if not len(texts):
        return True
    _, places, data = texts.buffers()
    if data is None:
        return True
    (start,) = offsets.unpack_from(places, texts.offset * offsets.size)
    (end,) = offsets.unpack_from(places, (texts.offset + len(texts)) * offsets.size)
    return memoryview(data)[start:end].tobytes().isascii()
