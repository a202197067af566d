"""Submissions with a key of their own, so that sending one again makes no second job.

Whoever takes a submission in holds a lease on it. Until the lease runs out, others who
send the same are told to wait; after that, as after a crash, they may try it anew.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from sutro_stream.errors import SutroStreamError
from sutro_stream.jobs.database import Clock, Database, microseconds, utc_now
from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.idempotency import conflict, in_progress

_LEASE_S = 120.0


class ReservationKind(StrEnum):
    """What is to be done with a submission."""

    NEW = "new"
    """Take it in; the lease is the caller's."""
    REPLAY = "replay"
    """It was taken in before: answer with the same job."""
    CONFLICT = "conflict"
    """The key came before with another body."""
    IN_PROGRESS = "in_progress"
    """Somebody else is taking it in."""


class SubmissionState(StrEnum):
    """What became of a submission; the words are those of Sutro's API."""

    INGESTING = "INGESTING"
    RETRYABLE = "RETRYABLE"
    FAILED = "FAILED"
    ACCEPTED = "ACCEPTED"


# What only the holder of a lease may change.
_HELD = (
    "WHERE account = ? AND idempotency_key = ? AND token = ? "
    f"AND state = '{SubmissionState.INGESTING.value}'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What `SubmissionStore.reserve` found.

    Attributes:
        kind: What is to be done.
        account: Whose submission it is.
        key: Its idempotency key.
        job_id: The job it became, for a replay only.
        token: The caller's lease, for a new one only.
    """

    kind: ReservationKind
    account: str
    key: str
    job_id: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionStatus:
    """What became of a submission.

    Attributes:
        key: Its idempotency key.
        state: Where it stands.
        retryable: Whether it is to be sent again.
        job_id: The job it became, `None` unless it was accepted.
        detail: Why it failed, `None` unless it did.
    """

    key: str
    state: SubmissionState
    retryable: bool
    job_id: str | None = None
    detail: str | None = None


class SubmissionStore:
    """Submissions of all accounts.

    Concurrency: blocking; from any thread. Every method raises `StoreError` when the
    database cannot be used.
    """

    def __init__(
        self, database: Database, *, lease_s: float = _LEASE_S, clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._lease = timedelta(seconds=lease_s)
        self._clock = clock

    def reserve(self, account: str, key: str, digest: str) -> Reservation:
        """Begin to take in a submission, unless that happened before.

        Args:
            account: Whose it is.
            key: Its idempotency key in canonical form.
            digest: Of its body, equal for equal bodies.
        """
        with self._database.write() as connection:
            known = _row(connection, account, key)
            if known is not None and not self._is_free(known):
                return _occupied(known, digest)
            token = secrets.token_hex(16)
            now = self._clock()
            connection.execute(
                "INSERT OR REPLACE INTO submissions "
                "VALUES (?, ?, ?, ?, ?, ?, NULL, NULL, ?)",
                (
                    account,
                    key,
                    digest,
                    SubmissionState.INGESTING.value,
                    token,
                    microseconds(now + self._lease),
                    microseconds(now),
                ),
            )
        return Reservation(
            kind=ReservationKind.NEW, account=account, key=key, token=token
        )

    def renew(self, reservation: Reservation) -> bool:
        """Make the lease longer; for bodies that take their time.

        Returns:
            Whether it is still the caller's.
        """
        until = microseconds(self._clock() + self._lease)
        with self._database.write() as connection:
            done = connection.execute(
                f"UPDATE submissions SET lease_us = ? {_HELD}",  # noqa: S608 - words of ours
                (until, *_holder(reservation)),
            )
        return done.rowcount > 0

    def accept(self, reservation: Reservation, job_id: str) -> bool:
        """The submission has become a job.

        `JobStore.add` does this together with keeping the job, which is what a
        server wants.

        Returns:
            Whether the lease was still the caller's.
        """
        with self._database.write() as connection:
            return accept(connection, reservation, job_id=job_id)

    def fail(
        self, reservation: Reservation, detail: str, *, retryable: bool = False
    ) -> bool:
        """The submission was refused, or could not be taken in.

        Either way the key is free for another attempt, with any body.

        Args:
            reservation: From `reserve`.
            detail: Why, for the people who sent it.
            retryable: Whether the same may succeed later.

        Returns:
            Whether the lease was still the caller's.
        """
        state = SubmissionState.RETRYABLE if retryable else SubmissionState.FAILED
        with self._database.write() as connection:
            done = connection.execute(
                f"UPDATE submissions SET state = ?, detail = ? {_HELD}",  # noqa: S608 - words of ours
                (state.value, detail, *_holder(reservation)),
            )
        return done.rowcount > 0

    def failed(self, reservation: Reservation, error: SutroStreamError) -> bool:
        """The submission came to this error; see `fail`."""
        retryable = not isinstance(error, ApiError) or error.status >= 500
        return self.fail(reservation, str(error), retryable=retryable)

    def status(self, account: str, key: str) -> SubmissionStatus | None:
        """What became of a submission, `None` when the account made none with it."""
        with self._database.read() as connection:
            row = _row(connection, account, key)
        if row is None:
            return None
        state = SubmissionState(row["state"])
        is_stuck = state is SubmissionState.INGESTING and self._is_free(row)
        return SubmissionStatus(
            key=key,
            state=state,
            retryable=is_stuck or state is SubmissionState.RETRYABLE,
            job_id=row["job_id"],
            detail=row["detail"],
        )

    def end_leases(self) -> int:
        """Let all unfinished submissions be tried anew, since nobody is at it.

        For the start of the only server of a database.

        Returns:
            Their number.
        """
        with self._database.write() as connection:
            done = connection.execute(
                "UPDATE submissions SET lease_us = 0 WHERE state = ?",
                (SubmissionState.INGESTING.value,),
            )
        return done.rowcount

    def forget_before(self, when: datetime) -> int:
        """Remove submissions begun before a moment.

        Returns:
            Their number.
        """
        with self._database.write() as connection:
            done = connection.execute(
                "DELETE FROM submissions WHERE created_us < ?", (microseconds(when),)
            )
        return done.rowcount

    def _is_free(self, row: sqlite3.Row) -> bool:
        """Whether nothing stands in the way of another attempt."""
        state = row["state"]
        if state == SubmissionState.INGESTING:
            return bool(row["lease_us"] <= microseconds(self._clock()))
        return bool(state != SubmissionState.ACCEPTED)


def job_of(reservation: Reservation) -> str:
    """The job that an earlier submission became.

    Raises:
        ApiError: 409, it had another body, or is still being taken in.
    """
    if reservation.kind is ReservationKind.CONFLICT:
        raise conflict()
    if reservation.job_id is None:
        raise in_progress()
    return reservation.job_id


def digest_of(body: Path) -> str:
    """What is equal for equal bodies. Blocking."""
    with body.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def accept(
    connection: sqlite3.Connection, reservation: Reservation, *, job_id: str
) -> bool:
    """Note within a transaction that a submission has become a job.

    Returns:
        Whether the lease was still the caller's; nothing changes when it was not.
    """
    done = connection.execute(
        f"UPDATE submissions SET state = ?, job_id = ? {_HELD}",  # noqa: S608 - words of ours
        (SubmissionState.ACCEPTED.value, job_id, *_holder(reservation)),
    )
    return done.rowcount > 0


def _holder(reservation: Reservation) -> tuple[str, str, str | None]:
    return reservation.account, reservation.key, reservation.token


def _row(connection: sqlite3.Connection, account: str, key: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM submissions WHERE account = ? AND idempotency_key = ?",
        (account, key),
    ).fetchone()
    return row


def _occupied(row: sqlite3.Row, digest: str) -> Reservation:
    account, key = row["account"], row["idempotency_key"]
    if row["digest"] != digest:
        return Reservation(kind=ReservationKind.CONFLICT, account=account, key=key)
    if row["state"] == SubmissionState.ACCEPTED:
        return Reservation(
            kind=ReservationKind.REPLAY, account=account, key=key, job_id=row["job_id"]
        )
    return Reservation(kind=ReservationKind.IN_PROGRESS, account=account, key=key)
