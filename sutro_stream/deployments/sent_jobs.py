"""Which submissions of a run are out, so that a later run finds their jobs again.

A file of JSON lines that only grows: what is sent, before it is; which job it became;
that nothing more is expected of it. A line is one `write` into the system's cache and
survives `kill -9`. The last one may be torn, and is dropped then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from sutro_stream.errors import StoreError

_FORMAT = "sutro-stream jobs 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentBatch:
    """A submission whose end is not known here.

    Attributes:
        first_index: Index of the first row of the batch that it was made from.
        offsets: Which rows of the batch were sent, `None` for all that can be.
        digest: Of these rows.
        key: Idempotency key it was sent under.
        job_id: The job it became, `None` while that is not known.
    """

    first_index: int
    offsets: Sequence[int] | None
    digest: str
    key: str
    job_id: str | None = None


class SentJobs:
    """Submissions that are out, in memory and, with a file, beyond this process.

    Concurrency: one event loop; no method waits.
    """

    def __init__(self) -> None:
        """Nothing is out; without a file."""
        self._sent: dict[int, SentBatch] = {}
        self._file: BinaryIO | None = None
        self._path = Path()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is out."""
        return not self._sent

    def open(self, path: Path, *, restart: bool) -> None:
        """Read what is out from a file, and write to it from now on. Blocking.

        Args:
            path: Made if it is not there. Nobody else may have it open: the ledger
                beside it is locked.
            restart: Whether to forget what is in it.

        Raises:
            StoreError: It cannot be read or written, or is no such file.
        """
        self._path = path
        with self._errors(), ExitStack() as undo:
            file = path.open("w+b" if restart or not path.exists() else "r+b")
            undo.callback(file.close)
            self._read(file)
            undo.pop_all()
            self._file = file

    def close(self, *, remove: bool) -> None:
        """Close the file. Blocking.

        Args:
            remove: Whether it goes.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()
            if remove:
                self._path.unlink(missing_ok=True)

    def get(self, first_index: int) -> SentBatch | None:
        """What is out of the batch that begins at a row."""
        return self._sent.get(first_index)

    def sent(self, batch: SentBatch) -> None:
        """Note a submission, before it is sent.

        Raises:
            StoreError: It could not be written down.
        """
        self._sent[batch.first_index] = batch
        offsets = None if batch.offsets is None else list(batch.offsets)
        self._write(
            {
                "sent": batch.first_index,
                "key": batch.key,
                "digest": batch.digest,
                "offsets": offsets,
            }
        )

    def accepted(self, first_index: int, job_id: str) -> None:
        """Note which job a submission became."""
        self._sent[first_index] = replace(self._sent[first_index], job_id=job_id)
        self._write({"accepted": first_index, "job": job_id})

    def ended(self, first_index: int) -> None:
        """Note that nothing more is expected of what was sent of a batch."""
        if self._sent.pop(first_index, None) is not None:
            self._write({"ended": first_index})

    def _read(self, file: BinaryIO) -> None:
        good_bytes = 0
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                break
            fields = orjson.loads(line)
            if number == 0 and fields != {"format": _FORMAT}:
                raise self._unusable("it is no list of sent jobs")
            self._take(fields)
            good_bytes += len(line)
        file.seek(good_bytes)
        file.truncate()
        if not good_bytes:
            os.write(file.fileno(), _line({"format": _FORMAT}))

    def _take(self, fields: Mapping[str, Any]) -> None:
        if "sent" in fields:
            self._sent[fields["sent"]] = SentBatch(
                first_index=fields["sent"],
                offsets=fields["offsets"],
                digest=fields["digest"],
                key=fields["key"],
            )
        elif "accepted" in fields:
            first = fields["accepted"]
            self._sent[first] = replace(self._sent[first], job_id=fields["job"])
        elif "ended" in fields:
            self._sent.pop(fields["ended"], None)

    def _write(self, fields: Mapping[str, Any]) -> None:
        if self._file is not None:
            with self._errors():
                os.write(self._file.fileno(), _line(fields))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise self._unusable(reason) from error
        except (ValueError, KeyError, TypeError) as error:
            raise self._unusable("it is damaged") from error

    def _unusable(self, reason: str) -> StoreError:
        message = f"cannot use the list of sent jobs {self._path}: {reason}"
        return StoreError(message, path=str(self._path))


def _line(fields: Mapping[str, Any]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
