"""Files that handlers read and write, closed whatever ends the handler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from anyio import to_thread


@asynccontextmanager
async def opened(path: Path, mode: Literal["rb", "xb"]) -> AsyncIterator[BinaryIO]:
    """An open file; its methods block and are for threads.

    What was written must be flushed before the context is left.

    Raises:
        OSError: It cannot be opened.
    """

    def open_it() -> BinaryIO:
        return path.open(mode)

    file = await to_thread.run_sync(open_it)
    try:
        yield file
    finally:
        # Here and not in a thread: a cancelled handler gets none. Nothing is left
        # to be written, so that it takes no time.
        file.close()
