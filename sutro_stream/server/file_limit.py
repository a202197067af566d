"""How many files, and so connections, this process may have open."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    import resource

# For the database, the files of jobs, downloads and what engines connect to.
_RESERVED = 512
# A connection has its socket, and while it is worked on a file.
_EACH = 2
_FEWEST = 64


def most_connections(wanted: int) -> int:
    """How many connections there are files for, `wanted` at most.

    Raises this process's own limit of open files as far as is needed and allowed.
    """
    if sys.platform == "win32":
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    enough = wanted * _EACH + _RESERVED
    if soft < enough:
        soft = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, max(_FEWEST, (soft - _RESERVED) // _EACH))
