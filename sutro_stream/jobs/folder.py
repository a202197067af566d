"""The folder of a deployment: what lies where."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sutro_stream.errors import StoreError, StoreInUseError

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class JobFolder:
    """What belongs to one job.

    Attributes:
        root: Removed with the job.
    """

    root: Path

    @property
    def rows(self) -> Path:
        """Rows that came in the request's body."""
        return self.root / "input.parquet"

    @property
    def results(self) -> Path:
        """Results of all rows; there only when the job has succeeded."""
        return self.root / "results.parquet"

    @property
    def artifacts(self) -> Path:
        """Files made of the results on request."""
        return self.root / "artifacts"

    def drop_work(self) -> None:
        """Remove everything but results and what was made of them.

        Blocking.
        """
        kept = {self.results.name, self.artifacts.name}
        with suppress(FileNotFoundError):
            for entry in list(self.root.iterdir()):
                if entry.name not in kept:
                    _remove(entry)

    def remove(self) -> None:
        """Remove it all. Blocking."""
        shutil.rmtree(self.root, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class DataFolder:
    """A deployment's data.

    Attributes:
        root: The folder.
    """

    root: Path

    @property
    def database(self) -> Path:
        """Keys, jobs, submissions, datasets."""
        return self.root / "deployment.sqlite"

    @property
    def functions(self) -> Path:
        """Published Functions."""
        return self.root / "functions"

    @property
    def datasets(self) -> Path:
        """Files of datasets."""
        return self.root / "datasets"

    @property
    def uploads(self) -> Path:
        """Bodies that are being received."""
        return self.root / "uploads"

    def job(self, job_id: str) -> JobFolder:
        """Where a job's files lie; `job_id` is one of ours."""
        return JobFolder(self.root / "jobs" / job_id)

    def job_ids(self) -> list[str]:
        """Jobs that have a folder. Blocking."""
        return sorted(entry.name for entry in (self.root / "jobs").iterdir())

    def prepare(self) -> None:
        """Make what is missing. Blocking.

        Raises:
            StoreError: It cannot be made.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.functions, self.datasets, self.uploads):
                folder.mkdir(exist_ok=True)
            (self.root / "jobs").mkdir(exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def secret(self) -> bytes:
        """The key that signs addresses of results, made once. Blocking.

        Raises:
            StoreError: It cannot be read or made.
        """
        path = self.root / "secret"
        try:
            # Opened exclusively and renamed: two processes agree on one key.
            fresh = path.with_name(f".secret.{secrets.token_hex(4)}")
            if not path.exists():
                descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(_SECRET_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(FileExistsError):
                    os.link(fresh, path)
                fresh.unlink()
            return path.read_bytes()
        except OSError as error:
            raise self._unusable(error) from error

    def sweep_uploads(self) -> None:
        """Remove bodies that an earlier process did not live to take. Blocking."""
        for entry in list(self.uploads.iterdir()):
            _remove(entry)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only server of this folder while the context is entered.

        Raises:
            StoreInUseError: Another process serves it.
            StoreError: It cannot be locked.
        """
        try:
            file = (self.root / "server.lock").open("ab")
        except OSError as error:
            raise self._unusable(error) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = (
                    f"the data folder {self.root} is served by another process; stop "
                    "that, or choose another folder"
                )
                raise StoreInUseError(message, path=str(self.root)) from None
            yield

    def _unusable(self, error: OSError) -> StoreError:
        reason = (error.strerror or type(error).__name__).lower()
        message = f"cannot use the data folder {self.root}: {reason}"
        return StoreError(message, path=str(self.root))


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
