"""Results of jobs that were fetched, kept beside the list of the jobs.

A file for each job, which is there when it is complete. So an answer needs no record of
its own, and a later run needs neither the job nor the deployment for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sutro_stream.errors import StoreError


class KeptResults:
    """The folder of these files; without one, nothing is kept.

    Concurrency: one event loop; blocking, but for `place`.
    """

    def __init__(self) -> None:
        """Without a folder."""
        self._folder: Path | None = None

    def open(self, folder: Path, *, restart: bool) -> None:
        """Keep results in a folder from now on.

        Args:
            folder: Made if it is not there. Nobody else may use it: the ledger beside
                it is locked.
            restart: Whether to remove what is in it.

        Raises:
            StoreError: It cannot be made.
        """
        with _errors(folder):
            if restart and folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(exist_ok=True)
        self._folder = folder

    def close(self, *, remove: bool) -> None:
        """Keep nothing more; a folder without files goes in any case.

        Args:
            remove: Whether the files go as well.
        """
        folder, self._folder = self._folder, None
        if folder is None:
            return
        if remove:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            with suppress(OSError):
                folder.rmdir()

    def place(self, first_index: int) -> Path | None:
        """Where the results of a batch of rows belong, `None` for nowhere.

        Args:
            first_index: Index of the batch's first row.
        """
        return None if self._folder is None else self._folder / f"{first_index}.parquet"

    def drop(self, first_index: int) -> None:
        """Remove the results of a batch, if they are there.

        Raises:
            StoreError: They cannot be removed.
        """
        place = self.place(first_index)
        if place is not None:
            with _errors(place):
                place.unlink(missing_ok=True)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        message = f"cannot keep results in {path}: {reason}"
        raise StoreError(message, path=str(path)) from error
