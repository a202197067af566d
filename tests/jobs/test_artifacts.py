"""Results as files to download."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import StoreError
from sutro_stream.jobs.artifacts import Artifact, Workshop
from sutro_stream.jobs.folder import JobFolder
from sutro_stream.jobs.result_table import Selection
from sutro_stream.jobs.results_file import JobResultsFile

RESULTS = "results.parquet"
JOB = "job-00000000-0000-4000-8000-000000000000"
ALL = Selection(inputs=True, logprobs=True)
USUAL: dict[str, Any] = {
    "inputs": pa.array(["a", "b", None], pa.large_string()),
    "id": [1, 2, 3],
    "outputs": pa.array(["x", 'say "hi",\nyou', None], pa.large_string()),
    "cumulative_logprobs": [-0.5, None, None],
}


def write(folder: Path, columns: dict[str, Any] | None = None) -> pa.Table:
    """The file of results of a job."""
    table = pa.table(USUAL if columns is None else columns)
    pq.write_table(table, folder / RESULTS, row_group_size=2)
    return table


def results(folder: Path) -> JobResultsFile:
    """What a server sees of it."""
    return JobResultsFile(JobFolder(folder), job_id=JOB, workshop=Workshop())


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return [entry.name for entry in folder.iterdir()]


def csv_rows(artifact: Artifact) -> list[list[str]]:
    """The lines of the one file in the archive."""
    with zipfile.ZipFile(artifact.path) as archive:
        assert archive.testzip() is None
        (name,) = archive.namelist()
        assert name == f"{JOB}.csv"
        text = archive.read(name).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def test_parquet_holds_what_was_selected(tmp_path: Path) -> None:
    """With the types of the results."""
    table = write(tmp_path)
    found = pq.read_table(results(tmp_path).parquet(Selection()).path)
    assert found == table.select(["id", "outputs"])
    assert pq.read_table(results(tmp_path).parquet(ALL).path) == table


def test_parquet_is_compressed_with_snappy(tmp_path: Path) -> None:
    """Which every reader knows."""
    write(tmp_path)
    metadata = pq.read_metadata(results(tmp_path).parquet(ALL).path)
    assert metadata.row_group(0).column(0).compression == "SNAPPY"


def test_parquet_is_read_by_others(tmp_path: Path) -> None:
    """Vectors too."""
    write(tmp_path, {"outputs": [[1.0, 2.0], None]})
    frame = pl.read_parquet(results(tmp_path).parquet(Selection()).path)
    assert frame["outputs"].to_list() == [[1.0, 2.0], None]


def test_parquet_of_many_rows_keeps_their_order(tmp_path: Path) -> None:
    """Over several row groups."""
    table = pa.table({"outputs": [str(number) for number in range(120_000)]})
    pq.write_table(table, tmp_path / RESULTS, row_group_size=33_000)
    path = results(tmp_path).parquet(Selection()).path
    assert pq.read_metadata(path).num_row_groups > 1
    assert pq.read_table(path) == table


def test_it_is_named_by_job_and_selection(tmp_path: Path) -> None:
    """As the official client saves it."""
    write(tmp_path)
    files = results(tmp_path)
    inputs = files.parquet(Selection(inputs=True))
    assert inputs.filename == f"sutro-results~{JOB}~inputs=1~logprobs=0.parquet"
    logprobs = files.csv_zip(Selection(logprobs=True))
    assert logprobs.filename == f"sutro-results~{JOB}~inputs=0~logprobs=1.zip"


def test_its_etag_is_the_hash_of_its_content(tmp_path: Path) -> None:
    """In quotes, so strong."""
    write(tmp_path)
    for artifact in (results(tmp_path).parquet(ALL), results(tmp_path).csv_zip(ALL)):
        content = artifact.path.read_bytes()
        assert artifact.etag == f'"{hashlib.sha256(content).hexdigest()}"'
        assert artifact.size_bytes == len(content)


def test_it_is_made_once(tmp_path: Path) -> None:
    """Later ones are the same, after a restart too."""
    write(tmp_path)
    first = results(tmp_path).parquet(ALL)
    (tmp_path / RESULTS).unlink()
    assert results(tmp_path).parquet(ALL) == first


def test_it_is_made_once_for_all_who_want_it(tmp_path: Path) -> None:
    """Those who come meanwhile wait for it."""
    write(tmp_path)
    files = results(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(files.parquet, [ALL] * 4))
    assert len(made) == 1
    assert names(tmp_path / "artifacts") == [next(iter(made)).path.name]


def test_it_is_found_by_its_name(tmp_path: Path) -> None:
    """Once it is made."""
    write(tmp_path)
    files = results(tmp_path)
    name = f"sutro-results~{JOB}~inputs=0~logprobs=0.parquet"
    assert files.artifact(name) is None
    made = files.parquet(Selection())
    assert results(tmp_path).artifact(name) == made


@pytest.mark.parametrize(
    "name",
    [
        "",
        "results.parquet",
        "../results.parquet",
        "sutro-results~job-other~inputs=0~logprobs=0.parquet",
        f"sutro-results~{JOB}~inputs=*~logprobs=0.parquet",
        f"sutro-results~{JOB}~inputs=0~logprobs=0.csv",
    ],
)
def test_other_names_are_of_nothing(tmp_path: Path, name: str) -> None:
    """Least of all of other files."""
    write(tmp_path)
    files = results(tmp_path)
    files.parquet(Selection())
    assert files.artifact(name) is None


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    """When the artifact is made; it was never taken for one."""
    write(tmp_path)
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (folder / ".inputs=0~logprobs=0.parquet.partial").write_bytes(b"half" * 9_000)
    made = results(tmp_path).parquet(Selection())
    assert names(folder) == [made.path.name]


def test_results_that_cannot_be_read_leave_nothing(tmp_path: Path) -> None:
    """And the error is one of the store."""
    (tmp_path / RESULTS).write_bytes(b"no Parquet at all")
    with pytest.raises(StoreError, match="cannot read the results"):
        results(tmp_path).parquet(ALL)
    assert names(tmp_path / "artifacts") == []


def test_a_job_that_was_removed_has_no_artifact(tmp_path: Path) -> None:
    """Its folder does not come back."""
    folder = tmp_path / JOB
    with pytest.raises(StoreError):
        results(folder).parquet(ALL)
    assert not folder.exists()


def test_csv_has_the_outputs_under_the_name_of_the_job(tmp_path: Path) -> None:
    """Inputs first; text in quotes where it needs them; nulls are empty."""
    write(tmp_path)
    assert csv_rows(results(tmp_path).csv_zip(ALL)) == [
        ["inputs", "id", JOB, "cumulative_logprobs"],
        ["a", "1", "x", "-0.5"],
        ["b", "2", 'say "hi",\nyou', ""],
        ["", "3", "", ""],
    ]


def test_csv_has_vectors_as_json(tmp_path: Path) -> None:
    """A failed row's cell is empty."""
    write(tmp_path, {"id": ["a", "b"], "outputs": [[1.0, 0.5], None]})
    header, first, second = csv_rows(results(tmp_path).csv_zip(Selection()))
    assert header == ["id", JOB]
    assert json.loads(first[1]) == [1.0, 0.5]
    assert second == ["b", ""]


def test_csv_of_one_column_has_a_line_for_every_row(tmp_path: Path) -> None:
    """An empty line would be no row."""
    write(tmp_path, {"outputs": pa.array(["a", None, ""], pa.large_string())})
    rows = csv_rows(results(tmp_path).csv_zip(Selection()))
    assert rows == [[JOB], ["a"], [""], [""]]


def test_csv_has_odd_names_of_columns_as_they_are(tmp_path: Path) -> None:
    """Quotes and commas too."""
    write(tmp_path, {'my "id", or so': [1], "outputs": ["a"]})
    header, _ = csv_rows(results(tmp_path).csv_zip(Selection()))
    assert header == ['my "id", or so', JOB]


def test_a_workshop_has_its_places() -> None:
    """Who finds none waits until one is free."""
    workshop = Workshop(places=2)
    entered = threading.Semaphore(0)
    leave = threading.Semaphore(0)

    def make(job_id: str) -> None:
        with workshop.place(job_id, "inputs=0"):
            entered.release()
            leave.acquire()

    with ThreadPoolExecutor(3) as pool:
        made = [pool.submit(make, job_id) for job_id in ("a", "b", "c")]
        entered.acquire()
        entered.acquire()
        assert not entered.acquire(blocking=False)
        leave.release()
        entered.acquire()
        leave.release(2)
    assert all(future.done() for future in made)


def test_nothing_is_made_twice_at_once() -> None:
    """Not even with places left; other things are."""
    workshop = Workshop(places=3)
    again = threading.Event()

    def make() -> None:
        with workshop.place("a", "inputs=0"):
            again.set()

    with ThreadPoolExecutor(1) as pool:
        with workshop.place("a", "inputs=0"):
            pool.submit(make)
            with workshop.place("a", "inputs=1"), workshop.place("b", "inputs=0"):
                assert not again.is_set()
        assert again.wait(10)


# In a process of its own: a limit on the size of files holds for a whole process.
FULL_DISK = """
import os, random, resource, sys
from pathlib import Path
import pyarrow as pa
import pyarrow.parquet as pq
from sutro_stream.errors import StoreError
from sutro_stream.jobs.artifacts import Workshop
from sutro_stream.jobs.folder import JobFolder
from sutro_stream.jobs.folder import JobFolder
from sutro_stream.jobs.result_table import Selection
from sutro_stream.jobs.results_file import JobResultsFile

folder = Path(sys.argv[1])
generator = random.Random(0)
texts = [generator.randbytes(500).hex() for _ in range(2_000)]
pq.write_table(pa.table({"outputs": texts}), folder / "results.parquet")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
results = JobResultsFile(JobFolder(folder), job_id="job-1", workshop=Workshop())
for make in (results.parquet, results.csv_zip):
    try:
        make(Selection())
    except StoreError as error:
        print(error)
print(os.listdir(folder / "artifacts"))
"""


def test_a_full_disk_leaves_no_artifact(tmp_path: Path) -> None:
    """And says where there was no room."""
    pytest.importorskip("resource", reason="needs a limit on the size of files")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.stderr == ""
    place = tmp_path / "artifacts"
    message = f"cannot write an artifact to {place}: file too large"
    assert done.stdout.splitlines() == [message, message, "[]"]
