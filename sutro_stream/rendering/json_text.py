"""JSON text made of columns, without an object for each value."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.rendering.text import TEXT

_TO_ESCAPE = r'["\\\x00-\x1f]'
_NOTHING = pa.scalar("", TEXT)


def joined(*parts: str | pa.Array) -> pa.Array:
    """The parts one behind the other, row by row; null where one of them is."""
    texts = [pa.scalar(part, TEXT) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*texts, _NOTHING)


def quoted(texts: pa.Array) -> pa.Array:
    """Texts as JSON strings, of type `TEXT`; null stays null."""
    written = joined('"', texts, '"')
    escapes = pc.match_substring_regex(texts, _TO_ESCAPE)
    escapes = pc.fill_null(escapes, fill_value=False)
    if not pc.any(escapes).as_py():
        return written
    values = texts.filter(escapes).to_pylist()
    rewritten = pa.array([orjson.dumps(value) for value in values], pa.large_binary())
    return pc.replace_with_mask(written, escapes, rewritten.view(TEXT))
