"""How many connections there are files for."""

from __future__ import annotations

from sutro_stream.settings.open_files import most_open_files

# For the database, the files of jobs, downloads and what engines connect to.
_RESERVED = 512
# A connection has its socket, and while it is worked on a file.
_EACH = 2
_FEWEST = 64


def most_connections(wanted: int) -> int:
    """How many connections there are files for, `wanted` at most.

    Raises this process's own limit of open files as far as is needed and allowed.
    """
    files = most_open_files(wanted * _EACH + _RESERVED)
    if files is None:
        return wanted
    return min(wanted, max(_FEWEST, (files - _RESERVED) // _EACH))
