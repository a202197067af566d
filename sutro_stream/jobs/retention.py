"""What goes: results whose time is over, and what a crash has left."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import anyio
from anyio import to_thread

from sutro_stream.errors import StoreError
from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.store import JobStore
from sutro_stream.jobs.submissions import SubmissionStore

_LOG = logging.getLogger(__name__)
_EVERY_S = 3600.0


def sweep(folder: DataFolder, jobs: JobStore) -> None:
    """Remove bodies that were being received, and files of jobs never accepted.

    Blocking; for the start, when nobody receives or submits.
    """
    folder.sweep_uploads()
    for job_id in folder.job_ids():
        if jobs.get(job_id) is None:
            folder.job(job_id).remove()


def remove_old(
    folder: DataFolder,
    jobs: JobStore,
    submissions: SubmissionStore,
    *,
    before: datetime,
) -> int:
    """Remove jobs that ended before a moment, with their files. Blocking.

    Returns:
        Their number.
    """
    removed = 0
    for job in jobs.finished_before(before):
        # The record goes first: results must not vanish from under one that is
        # listed; files without a record are swept at the next start.
        if jobs.remove(job.job_id):
            folder.job(job.job_id).remove()
            removed += 1
    submissions.forget_before(before)
    return removed


async def keep_clean(
    folder: DataFolder, *, jobs: JobStore, submissions: SubmissionStore, days: float
) -> None:
    """Remove old jobs from time to time, until cancelled."""
    while True:
        before = datetime.now(UTC) - timedelta(days=days)
        try:
            removed = await to_thread.run_sync(
                lambda: remove_old(folder, jobs, submissions, before=before)  # noqa: B023
            )
        except StoreError:
            _LOG.exception("old jobs could not be removed; this is tried again")
        else:
            if removed:
                _LOG.info("removed %d jobs that ended over %g days ago", removed, days)
        await anyio.sleep(_EVERY_S)
