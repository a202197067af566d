"""All jobs of a deployment, durably, and the steps each may take.

```
QUEUED → STARTING → RUNNING → SUCCEEDED
   └────────┴─────────┴─────→ FAILED
   └────────┴─────────┴─────→ CANCELLING → CANCELLED
```

A step is one conditional update, so two that want different ones cannot both win.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sutro_stream.jobs.database import Clock, Database, microseconds, utc_now
from sutro_stream.jobs.records import INSERT, job_of, record
from sutro_stream.jobs.submissions import Reservation, accept
from sutro_stream.values.job import Job, JobState
from sutro_stream.wire.cursor import Cursor

_BEGUN = (JobState.STARTING, JobState.RUNNING)
_CANCELLABLE = (JobState.QUEUED, *_BEGUN)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTotals:
    """What a job came to; `None` leaves what is known already.

    Attributes:
        rows: Number of its rows.
        failed_rows: How many of them have no answer.
        input_tokens: As counted by the engine.
        output_tokens: As `input_tokens`.
        cost_usd: Their price.
        estimate_usd: What an estimate job found.
        answered_by: The endpoint's name for the model.
        note: How these were found, or what else of them needs saying.
    """

    rows: int | None = None
    failed_rows: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    estimate_usd: float | None = None
    answered_by: str | None = None
    note: str | None = None


_NOTHING = JobTotals()


class JobStore:
    """Jobs of all accounts.

    Concurrency: blocking; from any thread. Every method raises `StoreError` when the
    database cannot be used; a step that another came before is a return value.
    """

    def __init__(self, database: Database, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def add(self, job: Job, *, reservation: Reservation | None = None) -> bool:
        """Keep a new job; it survives everything from here on.

        Args:
            job: In any state; its ID is new.
            reservation: The submission it came by, accepted in the same transaction;
                `None` for one without an idempotency key.

        Returns:
            `False` when another attempt has taken the submission over; nothing was
            kept then.
        """
        with self._database.write() as connection:
            if reservation is not None and not accept(
                connection, reservation, job_id=job.job_id
            ):
                return False
            connection.execute(INSERT, record(job))
        return True

    def get(self, job_id: str, *, account: str | None = None) -> Job | None:
        """A job, `None` when there is none or it belongs to another account.

        Args:
            job_id: Its ID; any text.
            account: Whose it must be, `None` for anybody's.
        """
        with self._database.read() as connection:
            return _find(connection, job_id, account)

    def list(
        self, account: str, *, limit: int | None = None, before: Cursor | None = None
    ) -> Sequence[Job]:
        """Jobs of an account, newest first.

        Args:
            account: Whose.
            limit: Most of them, `None` for all.
            before: Only those older than the one this points to, `None` for the
                newest; that one may be gone.
        """
        query = "SELECT * FROM jobs WHERE account = :account"
        values: dict[str, Any] = {
            "account": account,
            "limit": -1 if limit is None else limit,
        }
        if before is not None:
            query += (
                " AND (created_us, sequence) < (:created_us, coalesce("
                "(SELECT sequence FROM jobs WHERE job_id = :job_id), 0))"
            )
            values["created_us"] = microseconds(before.created_at)
            values["job_id"] = before.job_id
        query += " ORDER BY created_us DESC, sequence DESC LIMIT :limit"
        return self._found(query, values)

    def unfinished(self) -> Sequence[Job]:
        """Jobs of all accounts that have not ended, oldest first."""
        query = "SELECT * FROM jobs WHERE completed_us IS NULL ORDER BY sequence"
        return self._found(query, {})

    def count_unfinished(self) -> Mapping[JobState, int]:
        """Jobs of all accounts that have not ended, by state."""
        query = (
            "SELECT state, count(*) FROM jobs WHERE completed_us IS NULL GROUP BY state"
        )
        with self._database.read() as connection:
            counts = connection.execute(query).fetchall()
        return {JobState(state): count for state, count in counts}

    def finished_before(self, when: datetime) -> Sequence[Job]:
        """Jobs of all accounts that ended before a moment, oldest end first."""
        query = "SELECT * FROM jobs WHERE completed_us < :when ORDER BY completed_us"
        return self._found(query, {"when": microseconds(when)})

    def started(self, job_id: str) -> bool:
        """Work on the job begins, or begins anew after a restart.

        Returns:
            Whether it is STARTING now; `False` when it is unknown, being cancelled
            or has ended.
        """
        return self._step(
            job_id,
            _CANCELLABLE,
            JobState.STARTING,
            started_us=microseconds(self._clock()),
        )

    def running(self, job_id: str, *, rows: int | None = None) -> bool:
        """Its rows are known and on their way; may be said again.

        Args:
            job_id: Its ID.
            rows: Their number, `None` while not known.

        Returns:
            Whether it is RUNNING now.
        """
        return self._step(job_id, _BEGUN, JobState.RUNNING, row_count=rows)

    def succeeded(self, job_id: str, totals: JobTotals) -> bool:
        """Its results can be read.

        Returns:
            Whether it is SUCCEEDED now; `False` when it was cancelled before, for
            example, and then what was made of it is to be thrown away.
        """
        return self._end(job_id, _BEGUN, JobState.SUCCEEDED, totals)

    def failed(
        self, job_id: str, message: str, *, totals: JobTotals = _NOTHING
    ) -> bool:
        """The job as a whole came to nothing.

        Args:
            job_id: Its ID.
            message: Why, for the people who sent it.
            totals: What it came to all the same.

        Returns:
            Whether it is FAILED now.
        """
        return self._end(job_id, _CANCELLABLE, JobState.FAILED, totals, failure=message)

    def cancelling(self, job_id: str, *, account: str | None = None) -> Job | None:
        """Ask for the end of a job; nothing changes when it has ended.

        Args:
            job_id: Its ID; any text.
            account: Whose it must be, `None` for anybody's.

        Returns:
            The job as it stands now: CANCELLING, or the final state it was in. `None`
            when there is none or it belongs to another account.
        """
        with self._database.write() as connection:
            found = _find(connection, job_id, account)
            if found is None or found.state not in _CANCELLABLE:
                return found
            _update(connection, job_id, _CANCELLABLE, {"state": JobState.CANCELLING})
            return _find(connection, job_id, account)

    def cancelled(self, job_id: str, *, totals: JobTotals = _NOTHING) -> bool:
        """The cancelled job has stopped.

        Args:
            job_id: Its ID.
            totals: What it came to until then.

        Returns:
            Whether it is CANCELLED now; `False` when nobody asked for it.
        """
        return self._end(job_id, (JobState.CANCELLING,), JobState.CANCELLED, totals)

    def remove(self, job_id: str) -> bool:
        """Forget a job that has ended, but for its ID.

        Returns:
            Whether it did; `False` when it is unknown or has not ended.
        """
        with self._database.write() as connection:
            kept = connection.execute(
                "INSERT INTO removed_jobs SELECT job_id, account FROM jobs "
                "WHERE job_id = ? AND completed_us IS NOT NULL",
                (job_id,),
            )
            if kept.rowcount == 0:
                return False
            connection.execute("DELETE FROM jobs WHERE job_id = ?", (job_id,))
        return True

    def was_removed(self, job_id: str, *, account: str) -> bool:
        """Whether the account had a job of this ID that was removed."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT 1 FROM removed_jobs WHERE job_id = ? AND account = ?",
                (job_id, account),
            ).fetchone()
        return row is not None

    def _found(self, query: str, values: dict[str, Any]) -> Sequence[Job]:
        with self._database.read() as connection:
            rows = connection.execute(query, values).fetchall()
        # Reading a long list takes its time, in which others need the database.
        return [job_of(row) for row in rows]

    def _step(
        self,
        job_id: str,
        since: Iterable[JobState],
        state: JobState,
        **values: int | None,
    ) -> bool:
        """Move to `state`; of `values`, what is known already or `None` is left."""
        with self._database.write() as connection:
            return _update(connection, job_id, since, {"state": state, **values})

    def _end(
        self,
        job_id: str,
        since: Iterable[JobState],
        state: JobState,
        totals: JobTotals,
        *,
        failure: str | None = None,
    ) -> bool:
        values = {
            "state": state,
            "completed_us": microseconds(self._clock()),
            "row_count": totals.rows,
            "failed_rows": totals.failed_rows,
            "input_tokens": totals.input_tokens,
            "output_tokens": totals.output_tokens,
            "cost_usd": totals.cost_usd,
            "estimate_usd": totals.estimate_usd,
            "answered_by": totals.answered_by,
            "note": totals.note,
            "failure": failure,
        }
        with self._database.write() as connection:
            if not _update(connection, job_id, since, values):
                return False
            connection.execute(
                "UPDATE jobs SET address = NULL WHERE job_id = ?", (job_id,)
            )
        return True


def _find(
    connection: sqlite3.Connection, job_id: str, account: str | None
) -> Job | None:
    row = connection.execute(
        "SELECT * FROM jobs WHERE job_id = ?1 AND (?2 IS NULL OR account = ?2)",
        (job_id, account),
    ).fetchone()
    return None if row is None else job_of(row)


def _update(
    connection: sqlite3.Connection,
    job_id: str,
    since: Iterable[JobState],
    values: dict[str, Any],
) -> bool:
    """Set what is not `None`, if the job is in one of the states `since`."""
    given = {name: value for name, value in values.items() if value is not None}
    # A restart does not change when work began.
    assignments = ", ".join(
        f"{name} = coalesce({name}, :{name})"
        if name == "started_us"
        else f"{name} = :{name}"
        for name in given
    )
    states = ", ".join(f"'{state.value}'" for state in since)
    done = connection.execute(
        f"UPDATE jobs SET {assignments} "  # noqa: S608 - names and words of ours
        f"WHERE job_id = :job_id AND state IN ({states})",
        {**given, "job_id": job_id},
    )
    return done.rowcount > 0
