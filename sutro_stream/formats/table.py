"""All formats: the one table of them.

A new format is a file beside this one, and a row here.
"""

from __future__ import annotations

from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.csv import CSV
from sutro_stream.formats.format import Format
from sutro_stream.formats.jsonl import JSON, JSONL
from sutro_stream.formats.parquet import PARQUET
from sutro_stream.formats.text_stream import PACKED
from sutro_stream.storage.stored import StoredFile, unreadable

FORMATS: tuple[Format, ...] = (PARQUET, CSV, JSONL, JSON)

_LONGEST_MAGIC = 16


def format_called(name: str) -> Format:
    """The format of that name.

    Raises:
        ConfigurationError: There is none.
    """
    for one in FORMATS:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in FORMATS)
    raise ConfigurationError(f"no format {name!r}; there are {known}")


def format_of_name(name: str) -> Format | None:
    """What a file is by its name, in any case, whatever packs it; `None` unknown."""
    name = name.lower()
    packed = next((end for end in PACKED if name.endswith(end)), "")
    bare = name.removesuffix(packed)
    for one in FORMATS:
        if name.endswith(one.suffixes) or (
            one.is_packed and bare.endswith(one.suffixes)
        ):
            return one
    return None


def format_of(file: StoredFile) -> Format:
    """What a file is: by its name, or else by its first bytes.

    Raises:
        ConfigurationError: Neither tells.
        SourceError: It cannot be read.
    """
    named = format_of_name(file.name)
    if named is not None:
        return named
    try:
        with file.open() as opened:
            start = opened.read(_LONGEST_MAGIC)
    except OSError as error:
        raise unreadable(file.label, error) from error
    for one in FORMATS:
        if one.magic and start.startswith(one.magic):
            return one
    suffixes = ", ".join(suffix for one in FORMATS for suffix in one.suffixes)
    raise ConfigurationError(
        f"{file.label}: not a known input format; names end in {suffixes}, or "
        "say which it is with --format"
    )
