"""What a program may set for its whole process, and a library may not."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

from sutro_stream.cli.messages import complain
from sutro_stream.settings.open_files import most_open_files

# Rows on their way are many small objects that live until they are written, and hardly
# ever a cycle: looking at them every 700 costs a tenth of what is done for a row.
_COLLECTION_THRESHOLDS = (50_000, 20, 20)
# While a thread computes, the event loop gets the interpreter back only when this time
# is over, and gives it away at every look at a socket.
_SWITCH_INTERVAL_S = 0.0005
# Tables are made in one thread and dropped in another, for which Arrow's own allocator
# is no match: of 110 MiB that it held, in pages of 2 MiB, 25 were in use. The system's
# leaves more and more holes instead; elsewhere Arrow may have no third one.
_ARROW_ALLOCATOR = "jemalloc" if sys.platform == "linux" else "system"
# Segments of the log that are read back are larger, and blocks of CSV text smaller:
# memory that came and went with each of these would cost as much as parsing them.
_LARGE_BLOCK_BYTES = 3 << 20
_KEPT_BYTES = 16 << 20
# What a run has open besides connections: the input, the ledger with its log, the
# output, what the interpreter and the event loop need: 28 were counted. Of a very low
# limit a smaller part is reserved.
_RESERVED_FILES = 64
_FEWEST_RESERVED = 40
# A request can have two connections: the one it failed on, and its next one; a late row
# is asked a second time beside the first.
_CONNECTIONS_PER_REQUEST = 2
# As many as `auto` ever has in flight.
_MOST_AUTO = 1024
# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def suit_streaming() -> None:
    """Collect garbage rarely, let threads take turns often, give memory back.

    For services that embed the library as well, if nothing in them minds. To be called
    before anything imports pyarrow, which keeps the allocator it begins with; one that
    the environment names stays, and programs that are started later inherit it.
    """
    gc.set_threshold(*_COLLECTION_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", _ARROW_ALLOCATOR)
    if sys.platform == "linux":
        _give_large_blocks_back()


def most_in_flight(wanted: int | None) -> int:
    """How many requests in flight this process has files for.

    Raises the process's limit of open files as far as is needed and allowed; where that
    is not enough, a warning says so.

    Args:
        wanted: Requests in flight that somebody asked for, at least 1; `None` for as
            many as `auto` can find.

    Returns:
        A number of requests, `wanted` at most and at least 1.
    """
    wanted = wanted or _MOST_AUTO
    files = most_open_files(wanted * _CONNECTIONS_PER_REQUEST + _RESERVED_FILES)
    if files is None:
        return wanted
    reserved = min(_RESERVED_FILES, max(_FEWEST_RESERVED, files // 2))
    most = max(1, files - reserved)
    if most < wanted:
        complain(
            f"at most {most:,} requests are in flight at once instead of {wanted:,}: "
            f"this process may have only {files:,} files open (see 'ulimit -n')",
            label="warning",
        )
    return min(most, wanted)


def _give_large_blocks_back() -> None:
    """Have the C library return a large block to the system when it is freed.

    By itself it stops doing so for sizes up to any that was freed once, and small
    blocks that live longer then keep the space between them.
    """
    # Of glibc; others have no such function, and no such habit.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
        # With its first value, 128 KiB, pages would come and go with each chunk.
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
