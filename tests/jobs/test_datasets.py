"""Datasets: files of one schema, in order, for one account."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sutro_stream.errors import StoreError
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.datasets import DatasetStore
from sutro_stream.values.dataset import DatasetField
from sutro_stream.wire.api_error import ApiError

if TYPE_CHECKING:
    from tests.jobs.conftest import HandClock

UNKNOWN = "dataset-00000000-0000-4000-8000-000000000000"

FIELD = Path(__file__).parents[1] / "field" / "data" / "files"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the files go."""
    return tmp_path / "data" / "datasets"


@pytest.fixture
def datasets(database: Database, root: Path, clock: HandClock) -> DatasetStore:
    """No datasets yet."""
    return DatasetStore(database, root, clock=clock)


@pytest.fixture
def uploaded(tmp_path: Path) -> Callable[..., Path]:
    """Makes files as they lie there when they have been received."""
    folder = tmp_path / "data" / "uploads"
    folder.mkdir(parents=True, exist_ok=True)

    def upload(**columns: list[Any]) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}"
        pq.write_table(pa.table(columns or {"prompt": ["a", "b"]}), path)
        return path

    return upload


def refused(call: Callable[[], object]) -> tuple[int, str, str]:
    """Status, code and text of a refusal."""
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value.status, caught.value.code, caught.value.detail


def test_a_new_dataset_is_empty(datasets: DatasetStore, clock: HandClock) -> None:
    """It has an ID, an owner and no columns."""
    dataset_id = datasets.create("alice")
    assert dataset_id.startswith("dataset-")
    (listed,) = datasets.list("alice")
    assert listed == datasets.get("alice", dataset_id)
    assert listed.created_at == listed.updated_at == clock.now
    assert (listed.files, listed.rows, listed.fields) == (0, 0, ())
    assert datasets.files("alice", dataset_id) == []


def test_files_keep_the_order_of_upload(
    datasets: DatasetStore, uploaded: Callable[..., Path]
) -> None:
    """Whatever they are called."""
    dataset_id = datasets.create("alice")
    for name, text in [("z.parquet", "1"), ("a.parquet", "2"), ("ü ~.parquet", "3")]:
        datasets.add_file("alice", dataset_id, name, uploaded(prompt=[text]))
    files = datasets.files("alice", dataset_id)
    assert [file.name for file in files] == ["z.parquet", "a.parquet", "ü ~.parquet"]
    paths = datasets.paths("alice", dataset_id)
    texts = [pq.read_table(path)["prompt"].to_pylist() for path in paths]
    assert texts == [["1"], ["2"], ["3"]]


def test_a_file_is_described(
    datasets: DatasetStore, clock: HandClock, uploaded: Callable[..., Path]
) -> None:
    """Rows, size and time, of the file and of the whole."""
    dataset_id = datasets.create("alice")
    clock.advance(10)
    source = uploaded(prompt=["a", "b"], id=[1, 2])
    size_bytes = source.stat().st_size
    file = datasets.add_file("alice", dataset_id, "a.parquet", source)
    assert datasets.files("alice", dataset_id) == [file]
    assert (file.rows, file.size_bytes, file.uploaded_at) == (2, size_bytes, clock.now)
    dataset = datasets.get("alice", dataset_id)
    assert (dataset.files, dataset.rows, dataset.size_bytes) == (1, 2, size_bytes)
    assert dataset.updated_at == clock.now
    assert dataset.fields == (
        DatasetField(name="prompt", type="string"),
        DatasetField(name="id", type="int64"),
    )


def test_the_received_file_is_moved(
    datasets: DatasetStore, root: Path, uploaded: Callable[..., Path]
) -> None:
    """It is not there twice, and its name is not part of the path."""
    dataset_id = datasets.create("alice")
    source = uploaded()
    datasets.add_file("alice", dataset_id, "a.parquet", source)
    assert not source.exists()
    path = datasets.file_path("alice", dataset_id, "a.parquet")
    assert path == root / dataset_id / "000001.parquet"
    assert path.is_file()


def test_a_name_comes_once(
    datasets: DatasetStore, uploaded: Callable[..., Path]
) -> None:
    """The second file is refused and stays where it was received."""
    dataset_id = datasets.create("alice")
    datasets.add_file("alice", dataset_id, "a.parquet", uploaded())
    source = uploaded()
    status, code, detail = refused(
        lambda: datasets.add_file("alice", dataset_id, "a.parquet", source)
    )
    assert (status, code) == (409, "duplicate_file")
    assert "a.parquet" in detail
    assert source.exists()
    assert len(datasets.files("alice", dataset_id)) == 1


def test_all_files_have_the_same_columns(
    datasets: DatasetStore, uploaded: Callable[..., Path]
) -> None:
    """Names, types and order; the message shows both."""
    dataset_id = datasets.create("alice")
    datasets.add_file("alice", dataset_id, "a.parquet", uploaded(prompt=["a"]))
    source = uploaded(prompt=[1])
    status, code, detail = refused(
        lambda: datasets.add_file("alice", dataset_id, "b.parquet", source)
    )
    assert (status, code) == (422, "schema_mismatch")
    assert "prompt int64 instead of prompt string" in detail


def test_notes_beside_the_columns_do_not_matter(
    datasets: DatasetStore, uploaded: Callable[..., Path], tmp_path: Path
) -> None:
    """What pandas writes into a file's metadata differs from file to file."""
    dataset_id = datasets.create("alice")
    datasets.add_file("alice", dataset_id, "a.parquet", uploaded(prompt=["a"]))
    table = pa.table({"prompt": ["b"]}).replace_schema_metadata({"pandas": "{}"})
    pq.write_table(table, tmp_path / "noted")
    datasets.add_file("alice", dataset_id, "b.parquet", tmp_path / "noted")
    assert len(datasets.files("alice", dataset_id)) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b\n1,2\n",
        b"PAR1",
        b"PAR1" + b"\xff" * 100 + b"PAR1",
        (FIELD / "one_byte_changed_foreign_error.parquet").read_bytes(),
    ],
)
def test_only_parquet_is_taken(
    datasets: DatasetStore, tmp_path: Path, content: bytes
) -> None:
    """Whatever the file is called."""
    dataset_id = datasets.create("alice")
    source = tmp_path / "received"
    source.write_bytes(content)
    status, code, detail = refused(
        lambda: datasets.add_file("alice", dataset_id, "a.parquet", source)
    )
    assert (status, code) == (422, "not_parquet")
    assert "a.parquet" in detail
    assert str(tmp_path) not in detail


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "a/b", "..\\b", "a\0", "a\nb", "a" * 256]
)
def test_a_name_has_no_folders(
    datasets: DatasetStore, uploaded: Callable[..., Path], name: str
) -> None:
    """Clients save the file under it."""
    dataset_id = datasets.create("alice")
    source = uploaded()
    status, code, _ = refused(
        lambda: datasets.add_file("alice", dataset_id, name, source)
    )
    assert (status, code) == (422, "invalid_file_name")


def test_a_dataset_of_another_account_is_not_there(
    datasets: DatasetStore, uploaded: Callable[..., Path]
) -> None:
    """Nothing tells it from one that never was."""
    dataset_id = datasets.create("alice")
    datasets.add_file("alice", dataset_id, "a.parquet", uploaded())
    assert datasets.list("bob") == []
    for account, wanted in [("bob", dataset_id), ("alice", UNKNOWN)]:
        answers = {
            refused(call)[:2]
            for call in (
                lambda a=account, d=wanted: datasets.get(a, d),
                lambda a=account, d=wanted: datasets.files(a, d),
                lambda a=account, d=wanted: datasets.paths(a, d),
                lambda a=account, d=wanted: datasets.file_path(a, d, "a.parquet"),
                lambda a=account, d=wanted: datasets.add_file(
                    a, d, "b.parquet", Path("nowhere")
                ),
            )
        }
        assert answers == {(404, "dataset_not_found")}


def test_an_unknown_file_is_not_there(datasets: DatasetStore) -> None:
    """In a dataset that is."""
    dataset_id = datasets.create("alice")
    status, code, _ = refused(
        lambda: datasets.file_path("alice", dataset_id, "../a.parquet")
    )
    assert (status, code) == (404, "file_not_found")


def test_datasets_are_listed_newest_first(datasets: DatasetStore) -> None:
    """By when they were made."""
    ids = [datasets.create("alice") for _ in range(3)]
    assert [dataset.dataset_id for dataset in datasets.list("alice")] == ids[::-1]


def test_files_that_come_at_once_are_all_kept(
    datasets: DatasetStore, uploaded: Callable[..., Path]
) -> None:
    """Each under a number of its own."""
    dataset_id = datasets.create("alice")
    sources = {f"{number}": uploaded(prompt=[f"{number}"]) for number in range(8)}
    with ThreadPoolExecutor(8) as threads:
        for name, source in sources.items():
            threads.submit(datasets.add_file, "alice", dataset_id, name, source)
    names = [file.name for file in datasets.files("alice", dataset_id)]
    paths = datasets.paths("alice", dataset_id)
    assert sorted(names) == sorted(sources)
    assert names == [pq.read_table(path)["prompt"][0].as_py() for path in paths]


def test_a_file_that_cannot_be_placed_is_not_listed(
    datasets: DatasetStore, root: Path, uploaded: Callable[..., Path]
) -> None:
    """And it stays where it was received."""
    dataset_id = datasets.create("alice")
    root.write_text("in the way", encoding="utf-8")
    source = uploaded()
    with pytest.raises(StoreError, match="cannot keep a file of a dataset"):
        datasets.add_file("alice", dataset_id, "a.parquet", source)
    assert source.exists()
    assert datasets.files("alice", dataset_id) == []


def test_what_a_crash_left_is_written_over(
    datasets: DatasetStore, root: Path, uploaded: Callable[..., Path]
) -> None:
    """A file that is in place and not listed does not count."""
    dataset_id = datasets.create("alice")
    left = root / dataset_id / "000001.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"left")
    datasets.add_file("alice", dataset_id, "a.parquet", uploaded(prompt=["new"]))
    (path,) = datasets.paths("alice", dataset_id)
    assert pq.read_table(path)["prompt"].to_pylist() == ["new"]
