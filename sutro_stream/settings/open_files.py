"""How many files, and so connections, this process may have open."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    import resource


def most_open_files(enough: int) -> int | None:
    """How many files this process may have open, after asking for more.

    Raises the process's soft limit to `enough`, or as far as the hard limit and the
    system allow; a higher one stays. For programs: a library leaves the limit alone.

    Args:
        enough: As many as the program can need.

    Returns:
        The soft limit now in force, `None` where there is none.
    """
    if sys.platform == "win32":
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    if soft < enough:
        wanted = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            # macOS names a hard limit that is none and keeps to another one.
            return soft
        soft = wanted
    return soft
