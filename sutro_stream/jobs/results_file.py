"""Everything that a job which succeeded has to give."""

from __future__ import annotations

from collections.abc import Iterator

from sutro_stream.jobs.artifacts import Artifact, Artifacts, Workshop
from sutro_stream.jobs.folder import JobFolder
from sutro_stream.jobs.result_streams import results_json
from sutro_stream.jobs.result_table import Selection

_MESSAGE = "Results retrieved successfully"


class JobResultsFile:
    """The results of a job, in the forms of Sutro's API.

    Concurrency: blocking; any number of threads.
    """

    def __init__(self, folder: JobFolder, *, job_id: str, workshop: Workshop) -> None:
        """The results in a job's folder.

        Args:
            folder: Of the job.
            job_id: Whose they are.
            workshop: Where artifacts are made; one for all jobs.
        """
        self._path = folder.results
        self._artifacts = Artifacts(
            folder.artifacts, job_id=job_id, results=self._path, workshop=workshop
        )

    def enveloped_json(self, selection: Selection) -> Iterator[bytes]:
        """Of `job-results`; see `results_json`."""
        return results_json(self._path, selection, message=_MESSAGE)

    def json(self, selection: Selection) -> Iterator[bytes]:
        """Of `jobs/{id}/results`; see `results_json`."""
        return results_json(self._path, selection)

    def parquet(self, selection: Selection) -> Artifact:
        """See `Artifacts.parquet`."""
        return self._artifacts.parquet(selection)

    def csv_zip(self, selection: Selection) -> Artifact:
        """See `Artifacts.csv_zip`."""
        return self._artifacts.csv_zip(selection)

    def artifact(self, filename: str) -> Artifact | None:
        """See `Artifacts.find`."""
        return self._artifacts.find(filename)
