"""Published Functions: immutable revisions and what is current."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sutro_stream.errors import ConfigurationError, StoreDamagedError, StoreError
from sutro_stream.functions.registry import FunctionRegistry

SPEC: dict[str, Any] = {
    "name": "lead-qualifier",
    "inputs": [{"name": "query"}],
    "prompt_template": "Query: {{ query }}",
    "output_schema": {"type": "object", "properties": {"label": {"type": "string"}}},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the files go; not there yet."""
    return tmp_path / "functions"


@pytest.fixture
def registry(root: Path) -> FunctionRegistry:
    """Nothing is published."""
    return FunctionRegistry(root)


def test_the_first_revision_is_one(registry: FunctionRegistry) -> None:
    """What is published is current."""
    published = registry.publish("alice", SPEC)
    assert published.revision == 1
    assert registry.latest("alice", "lead-qualifier") == published


def test_files_lie_as_documented(registry: FunctionRegistry, root: Path) -> None:
    """A pointer and immutable revisions, as JSON that people can read."""
    registry.publish("alice", SPEC)
    folder = root / "alice" / "lead-qualifier"
    latest = json.loads((folder / "latest.json").read_bytes())
    revision = json.loads((folder / "revisions" / "1.json").read_bytes())
    assert latest == {"revision": 1}
    assert revision == {**SPEC, "revision": 1}


def test_a_new_revision_leaves_the_old_one(
    registry: FunctionRegistry, root: Path
) -> None:
    """A job that has pinned it goes on with it."""
    first = registry.publish("alice", SPEC)
    path = root / "alice" / "lead-qualifier" / "revisions" / "1.json"
    before = path.read_bytes()
    second = registry.publish("alice", {**SPEC, "description": "Sorts leads."})
    assert second.revision == 2
    assert registry.latest("alice", "lead-qualifier") == second
    assert registry.revision("alice", "lead-qualifier", 1) == first
    assert path.read_bytes() == before
    assert registry.revisions("alice", "lead-qualifier") == [1, 2]


def test_a_file_is_published_as_bytes(registry: FunctionRegistry) -> None:
    """With the mark that some editors put before it."""
    data = b"\xef\xbb\xbf" + json.dumps(SPEC).encode()
    assert registry.publish("alice", data).name == "lead-qualifier"


def test_a_revision_in_the_file_is_ignored(registry: FunctionRegistry) -> None:
    """Numbers are given by the registry."""
    assert registry.publish("alice", {**SPEC, "revision": 40}).revision == 1


def test_what_was_published_can_be_shown(registry: FunctionRegistry) -> None:
    """With all fields as they were written."""
    registry.publish("alice", SPEC)
    expected = {**SPEC, "revision": 1}
    assert registry.definition("alice", "lead-qualifier", 1) == expected


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b'{"name": "../x", "inputs": [{"name": "a"}]}']
)
def test_what_is_no_function_is_refused(
    registry: FunctionRegistry, root: Path, data: bytes
) -> None:
    """And leaves no trace."""
    with pytest.raises(ConfigurationError):
        registry.publish("alice", data)
    assert not root.exists()


@pytest.mark.parametrize("account", ["", "..", "a/b", "A", "a" * 65])
def test_not_every_text_names_an_account(
    registry: FunctionRegistry, root: Path, account: str
) -> None:
    """Accounts have folders."""
    with pytest.raises(ConfigurationError, match="account: "):
        registry.publish(account, SPEC)
    assert not root.exists()


def test_functions_belong_to_accounts(registry: FunctionRegistry) -> None:
    """The same name of somebody else is another Function."""
    registry.publish("alice", SPEC)
    assert registry.latest("bob", "lead-qualifier") is None
    assert registry.publish("bob", SPEC).revision == 1
    assert registry.accounts() == ["alice", "bob"]


@pytest.mark.parametrize(
    ("account", "name"),
    [
        ("alice", "other"),
        ("alice", "../alice/lead-qualifier"),
        ("alice", ""),
        ("alice", "lead-qualifier\0"),
        ("../functions/alice", "lead-qualifier"),
        ("alice", "a" * 10_000),
        ("", "alice"),
    ],
)
def test_other_names_lead_nowhere(
    registry: FunctionRegistry, account: str, name: str
) -> None:
    """Whatever somebody asks for as a model."""
    registry.publish("alice", SPEC)
    assert registry.latest(account, name) is None
    assert registry.revision(account, name, 1) is None
    assert registry.revisions(account, name) == []


@pytest.mark.parametrize("number", [-1, 0, 2])
def test_other_numbers_lead_nowhere(registry: FunctionRegistry, number: int) -> None:
    """Only what was published is there."""
    registry.publish("alice", SPEC)
    assert registry.revision("alice", "lead-qualifier", number) is None


def test_names_are_listed_in_order(registry: FunctionRegistry) -> None:
    """Those of the account."""
    for name in ("b", "a"):
        registry.publish("alice", {**SPEC, "name": name})
    registry.publish("bob", {**SPEC, "name": "c"})
    assert registry.names("alice") == ["a", "b"]


def test_nothing_is_listed_before_the_first(registry: FunctionRegistry) -> None:
    """No folder is no error."""
    assert registry.accounts() == []
    assert registry.names("alice") == []


def test_a_publisher_that_was_killed_is_no_obstacle(
    registry: FunctionRegistry, root: Path
) -> None:
    """Half a file and a revision that never became current do not count."""
    first = registry.publish("alice", SPEC)
    revisions = root / "alice" / "lead-qualifier" / "revisions"
    (revisions / ".3.json.0123.partial").write_bytes(b'{"na')
    orphan = revisions / "2.json"
    orphan.write_bytes(json.dumps({**SPEC, "revision": 2}).encode())
    assert registry.latest("alice", "lead-qualifier") == first
    assert registry.publish("alice", SPEC).revision == 3


def test_publishers_at_once_get_numbers_of_their_own(
    registry: FunctionRegistry,
) -> None:
    """None overwrites another, and the last is current."""
    count = 20
    with ThreadPoolExecutor(8) as threads:
        published = list(
            threads.map(
                lambda number: registry.publish(
                    "alice", {**SPEC, "description": f"{number}"}
                ),
                range(count),
            )
        )
    numbers = sorted(function.revision or 0 for function in published)
    assert numbers == list(range(1, count + 1))
    for function in published:
        number = function.revision or 0
        kept = registry.revision("alice", "lead-qualifier", number)
        assert kept == function
    assert registry.latest_number("alice", "lead-qualifier") == count


def test_processes_take_turns(registry: FunctionRegistry, root: Path) -> None:
    """Commands publish while a server runs, which always sees a whole Function."""
    program = (
        "import json, sys; from pathlib import Path\n"
        "from sutro_stream.functions.registry import FunctionRegistry\n"
        "registry = FunctionRegistry(Path(sys.argv[1]))\n"
        "for _ in range(10): registry.publish('alice', json.loads(sys.argv[2]))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(root), json.dumps(SPEC)],
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    seen = [0]
    while any(process.poll() is None for process in processes):
        function = registry.latest("alice", "lead-qualifier")
        if function is not None:
            seen.append(function.revision or 0)
    assert [process.communicate()[1] for process in processes] == [b""] * 3
    assert seen == sorted(seen)
    assert registry.revisions("alice", "lead-qualifier") == list(range(1, 31))
    assert registry.latest_number("alice", "lead-qualifier") == 30


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"revision": true}', b'{"revision": 9}']
)
def test_a_damaged_pointer_is_told(
    registry: FunctionRegistry, root: Path, content: bytes
) -> None:
    """It is not taken for a Function that is not there."""
    registry.publish("alice", SPEC)
    path = root / "alice" / "lead-qualifier" / "latest.json"
    path.write_bytes(content)
    with pytest.raises(StoreDamagedError, match=r"latest\.json is damaged"):
        registry.latest("alice", "lead-qualifier")


def test_a_damaged_revision_is_told(registry: FunctionRegistry, root: Path) -> None:
    """With what is wrong, and what to do."""
    registry.publish("alice", SPEC)
    path = root / "alice" / "lead-qualifier" / "revisions" / "1.json"
    path.write_bytes(b'{"name": "lead-qualifier"}')
    with pytest.raises(StoreDamagedError, match=r"inputs is required.*publish"):
        registry.latest("alice", "lead-qualifier")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The message names it."""
    (tmp_path / "file").touch()
    registry = FunctionRegistry(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot use the published Functions in"):
        registry.publish("alice", SPEC)
