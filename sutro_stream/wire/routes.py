"""The paths and methods of Sutro's API."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

PREFIXES = ("/v1", "")
"""Where every route is mounted: SDKs of deployments use the first, the examples of
the public page the second."""

HEALTH_PATH = "/healthz"
"""Outside the prefixes, without a key."""

OPENAPI_PATH = "/openapi.json"
"""As `HEALTH_PATH`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One endpoint.

    Attributes:
        methods: HTTP methods it answers to; the first is the documented one.
        path: Below a prefix; variable parts in braces.
    """

    methods: tuple[str, ...]
    path: str

    def url(self, **values: str) -> str:
        """The path with its variable parts filled in, escaped."""
        escaped = {name: quote(value, safe="") for name, value in values.items()}
        return self.path.format_map(escaped)


SUBMIT = Route(methods=("POST",), path="/batch-inference")
JOB_STATUS = Route(methods=("GET",), path="/job-status/{job_id}")
JOB = Route(methods=("GET",), path="/jobs/{job_id}")
LIST_JOBS = Route(methods=("GET",), path="/list-jobs")
# The SDK cancels with a GET; older documentation says POST.
CANCEL_JOB = Route(methods=("GET", "POST"), path="/job-cancel/{job_id}")
JOB_PROGRESS = Route(methods=("GET",), path="/stream-job-progress/{job_id}")
JOB_RESULTS = Route(methods=("POST",), path="/job-results")
RESULTS = Route(methods=("GET",), path="/jobs/{job_id}/results")
RESULTS_URL = Route(methods=("GET",), path="/jobs/{job_id}/results-url")
AUTH_CHECK = Route(methods=("GET",), path="/auth/check")
TRY_AUTHENTICATION = Route(methods=("GET",), path="/try-authentication")
QUOTAS = Route(methods=("GET",), path="/get-quotas")
MODELS = Route(methods=("GET",), path="/models")
RUN_FUNCTION = Route(methods=("POST",), path="/functions/{name}/run")
SUBMISSION = Route(methods=("GET",), path="/batch-submissions/{idempotency_key}")
CREATE_DATASET = Route(methods=("GET",), path="/create-dataset")
UPLOAD_TO_DATASET = Route(methods=("POST",), path="/upload-to-dataset")
LIST_DATASETS = Route(methods=("POST",), path="/list-datasets")
LIST_DATASET_FILES = Route(methods=("POST",), path="/list-dataset-files")
DOWNLOAD_FROM_DATASET = Route(methods=("POST",), path="/download-from-dataset")
ARTIFACT = Route(methods=("HEAD", "GET"), path="/artifacts/{key}")

ROUTES = (
    SUBMIT,
    JOB_STATUS,
    JOB,
    LIST_JOBS,
    CANCEL_JOB,
    JOB_PROGRESS,
    JOB_RESULTS,
    RESULTS,
    RESULTS_URL,
    AUTH_CHECK,
    TRY_AUTHENTICATION,
    QUOTAS,
    MODELS,
    RUN_FUNCTION,
    SUBMISSION,
    CREATE_DATASET,
    UPLOAD_TO_DATASET,
    LIST_DATASETS,
    LIST_DATASET_FILES,
    DOWNLOAD_FROM_DATASET,
)
"""All that ask for a key. `ARTIFACT` is not among them: its links are signed."""

IDEMPOTENCY_HEADER = "Idempotency-Key"
REQUEST_ID_HEADER = "X-Request-Id"
