"""The examples of Sutro's public page, with host and key changed and no more.

The host of a file to fetch is changed as well, and the ID of a dataset, which the page
calls `dataset-8be01234-...`, to one that exists here.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

pytestmark = pytest.mark.timeout(180)

HEAD = """
import requests

response = requests.post(
    "https://api.sutro.sh/batch-inference",
    headers={
        "Authorization": "Key YOUR_SUTRO_API_KEY",
        "Content-Type": "application/json",
    },
"""
TAIL = """
)

result = response.json()
print(f"Job created: {result['results']}")
"""
ARRAY = """
    json={
        "model": "gpt-oss-20b",
        "inputs": [
            "What is the capital of France?",
            "Explain quantum computing in simple terms.",
            "Write a haiku about programming.",
        ],
        "system_prompt": "You are a helpful assistant.",
        "job_priority": 0,
    },"""
FUNCTION_ROWS = """
    json={
        "model": "lead-qualifier",
        "inputs": [
            {
                "query": "Find cybersecurity leaders evaluating AI vendors.",
                "region": "APAC",
            },
            {
                "query": "Find sales operations leaders replacing manual enrichment.",
                "region": "EMEA",
            },
        ],
        "job_priority": 0,
        "name": "lead-qualifier-smoke",
    },"""
FUNCTION_URL = """
    json={
        "model": "lead-qualifier",
        "inputs": "https://your-bucket.s3.amazonaws.com/leads.parquet?X-Amz-Algorithm=...",
        "job_priority": 1,
        "name": "lead-qualifier-file-run",
    },"""
URL = """
    json={
        "model": "gpt-oss-20b",
        "inputs": "https://your-bucket.s3.amazonaws.com/data.parquet?X-Amz-Algorithm=...",
        "column_name": "prompt",
        "system_prompt": "You are a helpful assistant.",
        "job_priority": 1,
    },"""
DATASET = """
    json={
        "model": "gpt-oss-20b",
        "inputs": "dataset-8be01234-abcd-5678-ef90-1234567890ab",
        "column_name": "prompt",
        "system_prompt": "You are a helpful assistant.",
        "job_priority": 1,
    },"""
ESTIMATE = """
    json={
        "model": "lead-qualifier",
        "inputs": [
            {
                "query": "Find cybersecurity leaders evaluating AI vendors.",
                "region": "APAC",
            }
        ],
        "job_priority": 0,
        "cost_estimate": True,
    },"""
CURL = """curl --request POST \\
  --url https://api.sutro.sh/batch-inference \\
  --header 'Authorization: <authorization>' \\
  --header 'Content-Type: application/json' \\
  --data '
{
  "inputs": {},
  "column_name": "<string>",
  "model": "<string>",
  "system_prompt": "<string>",
  "json_schema": {},
  "sampling_params": {},
  "job_priority": 123,
  "cost_estimate": true,
  "random_seed_per_input": true,
  "truncate_rows": true,
  "name": "<string>",
  "description": "<string>"
}
'"""
QUALIFIED = ['{"label":"qualified"}'] * 2
ANSWERS = [
    "echo: What is the capital of France?",
    "echo: Explain quantum computing in simple terms.",
    "echo: Write a haiku about programming.",
]


class Api:
    """The deployment, as a program without the SDK sees it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str) -> Any:
        """The JSON of a GET request that succeeds."""
        async with self._session.get(path) as response:
            assert response.status == 200
            return await response.json()

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        """Status and JSON of a POST request."""
        async with self._session.post(path, json=body) as response:
            return response.status, await response.json()

    async def finished(self, job_id: str) -> Mapping[str, Any]:
        """The job, once it has come to its end: its progress ends then."""
        async with self._session.get(f"/stream-job-progress/{job_id}") as response:
            assert response.status == 200
            await response.read()
        job = (await self.get(f"/jobs/{job_id}"))["job"]
        assert job["status"] in {"SUCCEEDED", "FAILED"}
        return dict(job)

    async def outputs(self, job_id: str) -> Any:
        """What the job answered."""
        status, answer = await self.post("/job-results", {"job_id": job_id})
        assert status == 200
        return answer["results"]["outputs"]

    async def dataset(self, url: str) -> str:
        """A new dataset with one file, copied from an address."""
        dataset_id = str((await self.get("/create-dataset"))["dataset_id"])
        form = aiohttp.FormData({"dataset_id": dataset_id})
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            form.add_field("file", await response.read(), filename="data.parquet")
        async with self._session.post("/upload-to-dataset", data=form) as response:
            assert response.status == 200
        return dataset_id


@pytest.fixture
async def api(program: Mapping[str, str]) -> AsyncGenerator[Api]:
    """The deployment, without `/v1`, as the page has it."""
    key = {"Authorization": f"Key {program['SUTRO_API_KEY']}"}
    async with aiohttp.ClientSession(program["SUTRO_API_URL"], headers=key) as session:
        yield Api(session)


async def ran(
    payload: str, python: Path, program: Mapping[str, str], **changes: str
) -> str:
    """The job that an example made, run as a program."""
    example = HEAD + payload + TAIL
    changes |= {
        "https://api.sutro.sh": program["SUTRO_API_URL"],
        "YOUR_SUTRO_API_KEY": program["SUTRO_API_KEY"],
    }
    for old, new in changes.items():
        example = example.replace(old, new)
    result = await anyio.run_process([python, "-c", example], env=program)
    job_id = result.stdout.decode().removeprefix("Job created: ").strip()
    assert re.fullmatch(r"job-[0-9a-f-]{36}", job_id)
    return job_id


async def test_a_standalone_model_with_an_array(
    api: Api, sdk_python: Path, program: dict[str, str]
) -> None:
    """First example of the page."""
    job_id = await ran(ARRAY, sdk_python, program)
    job = await api.finished(job_id)
    assert (job["status"], job["model"]) == ("SUCCEEDED", "gpt-oss-20b")
    assert job["system_prompt"] == "You are a helpful assistant."
    assert await api.outputs(job_id) == ANSWERS


async def test_a_function_with_object_rows(
    api: Api, sdk_python: Path, program: dict[str, str]
) -> None:
    """Second example of the page."""
    job_id = await ran(FUNCTION_ROWS, sdk_python, program)
    job = await api.finished(job_id)
    assert (job["status"], job["name"]) == ("SUCCEEDED", "lead-qualifier-smoke")
    assert await api.outputs(job_id) == QUALIFIED


async def test_a_function_with_a_url(
    api: Api, sdk_python: Path, program: dict[str, str], files: str
) -> None:
    """Third example of the page."""
    change = {"https://your-bucket.s3.amazonaws.com": files}
    job_id = await ran(FUNCTION_URL, sdk_python, program, **change)
    job = await api.finished(job_id)
    assert (job["status"], job["num_rows"]) == ("SUCCEEDED", 2)
    assert await api.outputs(job_id) == [QUALIFIED[0], '{"label":"not_qualified"}']


async def test_a_standalone_model_with_a_url(
    api: Api, sdk_python: Path, program: dict[str, str], files: str
) -> None:
    """Fourth example of the page."""
    change = {"https://your-bucket.s3.amazonaws.com": files}
    job_id = await ran(URL, sdk_python, program, **change)
    assert (await api.finished(job_id))["status"] == "SUCCEEDED"
    assert await api.outputs(job_id) == ["echo: uno", "echo: due"]


async def test_a_standalone_model_with_a_dataset(
    api: Api, sdk_python: Path, program: dict[str, str], files: str
) -> None:
    """Fifth example of the page."""
    dataset_id = await api.dataset(f"{files}/data.parquet")
    change = {"dataset-8be01234-abcd-5678-ef90-1234567890ab": dataset_id}
    job_id = await ran(DATASET, sdk_python, program, **change)
    job = await api.finished(job_id)
    assert (job["status"], job["dataset_id"]) == ("SUCCEEDED", dataset_id)
    assert await api.outputs(job_id) == ["echo: uno", "echo: due"]


async def test_a_cost_estimate(
    api: Api, sdk_python: Path, program: dict[str, str]
) -> None:
    """Sixth example of the page."""
    job = await api.finished(await ran(ESTIMATE, sdk_python, program))
    assert (job["status"], job["run_type"]) == ("SUCCEEDED", "ESTIMATE")
    assert isinstance(job["cost_estimate"], float)


def curl_body() -> dict[str, Any]:
    """What the page's curl command sends."""
    words = shlex.split(CURL)
    return dict(json.loads(words[words.index("--data") + 1]))


async def test_every_field_of_the_curl_command(api: Api) -> None:
    """The seventh example is a form; here it is filled in."""
    filled = {
        **curl_body(),
        "inputs": ["one", "two"],
        "column_name": None,
        "model": "gpt-oss-20b",
        "system_prompt": "Be brief.",
        "json_schema": {"type": "object", "properties": {}},
        "sampling_params": {"temperature": 0.5},
        "job_priority": 1,
        "cost_estimate": False,
        "name": "form",
        "description": "every field",
    }
    status, answer = await api.post("/batch-inference", filled)
    assert status == 200
    assert answer["results"] == answer["metadata"]["job_id"]
    assert answer["metadata"]["message"] == "Job created successfully"
    job = await api.finished(answer["results"])
    told = {key: job[key] for key in ("status", "name", "description", "job_priority")}
    assert told == {
        "status": "SUCCEEDED",
        "name": "form",
        "description": "every field",
        "job_priority": 1,
    }


async def test_the_curl_command_as_it_stands(api: Api) -> None:
    """A form that is not filled in is refused with a sentence, not with a failure."""
    status, answer = await api.post("/batch-inference", curl_body())
    assert status == 422
    assert isinstance(answer["detail"], str)
    assert set(answer) == {"detail", "code", "request_id"}
