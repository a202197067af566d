from pathlib import Path

import pytest

from sutro_stream.errors import ConfigurationError, SourceError, SourceNotFoundError
from sutro_stream.storage.files import Paths, describe, find_files


def _names(paths: Paths) -> list[str]:
    accept = [lambda name: name.lower().endswith((".csv", ".csv.gz"))]
    found = find_files(paths, accept=accept, told=lambda _: None, kind="CSV")
    return [file.path.name for file in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as other programs leave it."""
    for name in ("b.csv", "a.csv.gz", "C.CSV", "notes.txt", "_SUCCESS", ".hidden.csv"):
        (tmp_path / name).touch()
    (tmp_path / "_temporary.csv").touch()
    (tmp_path / "inner.csv").mkdir()
    (tmp_path / "inner.csv" / "d.csv").touch()
    return tmp_path


def test_a_folder_gives_its_files_by_name(folder: Path) -> None:
    """Sorted, of the right kind, without hidden ones; then those of its folders."""
    assert _names(folder) == ["C.CSV", "a.csv.gz", "b.csv", "d.csv"]


def test_a_glob_gives_what_matches_by_name(folder: Path) -> None:
    """Sorted, whatever the suffix, without hidden ones and folders."""
    assert _names(str(folder / "*")) == ["C.CSV", "a.csv.gz", "b.csv", "notes.txt"]


def test_a_glob_reaches_subfolders(folder: Path) -> None:
    """Two stars stand for folders at any depth."""
    assert _names(str(folder / "**" / "d*")) == ["d.csv"]


def test_a_glob_can_ask_for_skipped_names(folder: Path) -> None:
    """A pattern that begins with an underscore means it."""
    assert _names(str(folder / "_temp*")) == ["_temporary.csv"]


def test_a_list_keeps_its_order(folder: Path) -> None:
    """Files, folders and globs are expanded where they stand."""
    paths: Paths = [folder / "b.csv", str(folder / "a*"), folder / "inner.csv"]
    assert _names(paths) == ["b.csv", "a.csv.gz", "d.csv"]


def test_a_file_may_look_like_a_glob(tmp_path: Path) -> None:
    """What exists under a name is meant by it."""
    (tmp_path / "a[1].csv").touch()
    (tmp_path / "a1.csv").touch()
    assert _names(tmp_path / "a[1].csv") == ["a[1].csv"]


def test_a_named_file_needs_no_suffix(folder: Path) -> None:
    """Suffixes only choose among the files of a folder."""
    assert _names(folder / "notes.txt") == ["notes.txt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.csv", "none.csv: no such file or folder"),
        ("none*.csv", "none*.csv: no CSV file matches"),
        ("", ": the folder has no CSV file (nothing in it)"),
    ],
)
def test_nothing_there_is_a_clear_error(
    tmp_path: Path, name: str, message: str
) -> None:
    """It names what was looked for."""
    with pytest.raises(SourceNotFoundError) as caught:
        _names(str(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path))
    assert str(caught.value).endswith(message)
    assert caught.value.path == str(tmp_path / name)


def test_a_pattern_may_match_folders_alone(folder: Path) -> None:
    """Then their files are meant."""
    assert _names(str(folder / "inner*")) == ["d.csv"]


def test_folders_called_by_key_and_value_add_columns(tmp_path: Path) -> None:
    """Below what was given; without a value, by Hive's name for it."""
    for part in ("lang=de%2Fat", "lang=__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / "year=1" / part).mkdir(parents=True)
        (tmp_path / "year=1" / part / "a.csv").touch()
    given = [str(tmp_path), str(tmp_path / "year=*" / "lang=d*" / "*.csv")]
    found = find_files(given, accept=[bool], told=lambda _: None)
    assert [file.partition for file in found] == [
        {"year": "1", "lang": None},
        {"year": "1", "lang": "de/at"},
        {"year": "1", "lang": "de/at"},
    ]


def test_files_that_are_not_read_are_told_in_one_line(folder: Path) -> None:
    """How many, and what they are."""
    told: list[str] = []
    accept = [lambda name: name == "b.csv"]
    find_files(folder, accept=accept, told=told.append)
    assert told == [
        f"{folder}: 4 files were not read (names end in .CSV, .csv, .gz, .txt)"
    ]


def test_an_empty_text_is_refused() -> None:
    """It is a variable that was not set, most likely; not the folder one is in."""
    with pytest.raises(ConfigurationError, match="is it a variable"):
        _names("")


def test_no_path_at_all_is_refused() -> None:
    """An empty list is a mistake of the caller."""
    with pytest.raises(ConfigurationError, match="no CSV file given"):
        _names([])


def test_an_address_is_refused_without_showing_it() -> None:
    """The error names the right function and not the address's secrets."""
    with pytest.raises(ConfigurationError, match="read_url") as caught:
        _names("https://host/rows.csv?signature=secret")
    assert "secret" not in str(caught.value)


def test_a_device_is_not_a_file() -> None:
    """Only regular files can be read twice."""
    with pytest.raises(SourceError, match="not a regular file"):
        _names("/dev/null")


def test_a_path_that_cannot_be_looked_at_is_a_clear_error(tmp_path: Path) -> None:
    """The system's reason is passed on."""
    with pytest.raises(SourceError, match="too long"):
        _names(tmp_path / ("x" * 300))


def test_a_path_with_nul_is_a_clear_error(tmp_path: Path) -> None:
    """Python's own error is translated."""
    with pytest.raises(SourceError):
        _names(str(tmp_path / "a\0b"))


def test_inputs_have_short_names() -> None:
    """Messages about many files do not list them."""
    assert describe(Path("a.csv")) == "a.csv"
    assert describe(["a.csv", "b.csv", "c.csv"]) == "a.csv and 2 more"
    assert describe([]) == "no files"
