"""The public names: on purpose, all there, documented, and without side effects."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import sutro_stream as ss
from sutro_stream import errors, testing

ROOT = Path(ss.__file__).parents[1]

# A change here is a change for everybody who uses the package.
NAMES = [
    "Answer",
    "AuthenticationError",
    "BadReplyError",
    "Budget",
    "BudgetExhaustedError",
    "ChatEngine",
    "ConfigurationError",
    "CsvOptions",
    "Deployment",
    "EmbeddingEngine",
    "Engine",
    "EngineError",
    "EngineGroup",
    "EngineUnavailableError",
    "ErrorKind",
    "FilePipeline",
    "Function",
    "FunctionInput",
    "Hedge",
    "InputTooLongError",
    "InputType",
    "Instructions",
    "JobInfo",
    "JobState",
    "Limits",
    "LocalEngine",
    "NotFoundError",
    "OpenMode",
    "Outcome",
    "Pipeline",
    "PriceList",
    "Prices",
    "Prompt",
    "ProtocolError",
    "QuotaError",
    "RateLimitedError",
    "Reader",
    "RequestTimeoutError",
    "Responder",
    "Result",
    "Results",
    "RetryPolicy",
    "Row",
    "RowError",
    "RunReport",
    "RunStatus",
    "RunStoppedError",
    "SamplingParams",
    "ServiceError",
    "SharedLimits",
    "Sink",
    "SinkError",
    "Source",
    "SourceError",
    "SourceNotFoundError",
    "Stage",
    "StageError",
    "StopReason",
    "Statistics",
    "StoreDamagedError",
    "StoreError",
    "StoreInUseError",
    "Submission",
    "SutroStreamError",
    "TokenLogprob",
    "TransportError",
    "UncertainSubmissionError",
    "UnreadableInputError",
    "Usage",
    "WorkChangedError",
    "Writer",
    "embed",
    "from_rows",
    "infer",
    "limit",
    "map_batches",
    "messages",
    "prompts",
    "read",
    "read_csv",
    "read_parquet",
    "read_url",
    "render",
    "submit",
    "write_csv",
    "write_jsonl",
    "write_parquet",
]

USE_EVERYTHING = """
import json, logging, os, signal, sys, threading
before = len(os.listdir("/dev/fd")), signal.getsignal(signal.SIGINT)
import sutro_stream
at_once = sorted({name.partition(".")[0] for name in sys.modules})
for name in sutro_stream.__all__:
    getattr(sutro_stream, name)
import sutro_stream.testing
for name in sutro_stream.testing.__all__:
    getattr(sutro_stream.testing, name)
print(json.dumps({
    "at_once": at_once,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "threads": threading.active_count(),
    "unchanged": before == (
        len(os.listdir("/dev/fd")), signal.getsignal(signal.SIGINT)
    ),
    "log_handlers": len(logging.root.handlers),
}))
"""

# Other packages stay in memory, so that this takes a second instead of a minute.
IMPORT_EACH_ALONE = """
import importlib, pkgutil, sys
import sutro_stream
found = pkgutil.walk_packages(sutro_stream.__path__, "sutro_stream.")
names = sorted(module.name for module in found)
for name in names:
    # Between rooms there is no cycle: another test sees to their order.
    room = ".".join(name.split(".")[:2])
    for loaded in [name for name in sys.modules if name.startswith(room)]:
        del sys.modules[loaded]
    importlib.import_module(name)
print(len(names))
"""


def output_of(program: str) -> Any:
    """What a Python program prints, as JSON, with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def process() -> dict[str, Any]:
    """A process in which every public name was imported, and nothing done with it."""
    report: dict[str, Any] = output_of(USE_EVERYTHING)
    return report


def test_the_public_names_are_these() -> None:
    """In `__all__`, in `dir()`, sorted and once each."""
    assert sorted(ss.__all__) == sorted([*NAMES, "__version__"])
    assert list(ss.__all__) == sorted(ss.__all__)
    assert set(ss.__all__) <= set(dir(ss))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_ours_and_documented(name: str) -> None:
    """Its docstring is its own: not inherited, not made by a decorator."""
    thing = getattr(ss, name)
    assert thing.__name__ == name
    assert thing.__module__.startswith("sutro_stream.")
    documented = inspect.cleandoc(thing.__doc__ or "")
    assert documented
    assert not documented.startswith(f"{name}(")


@pytest.mark.parametrize("name", sorted(testing.__all__))
def test_a_name_of_the_test_kit_is_there(name: str) -> None:
    """Whoever tests an engine of their own relies on it."""
    assert hasattr(testing, name)


def test_type_checkers_see_the_same_names() -> None:
    """Each from the module that it comes from when the program runs."""
    tree = ast.parse(Path(ss.__file__).read_text())
    seen = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        if node.module is not None and node.module.startswith("sutro_stream")
        for alias in node.names
    ]
    assert sorted(name for _, name in seen) == sorted([*NAMES, "__version__"])
    for module, name in seen:
        assert getattr(import_module(module), name) is getattr(ss, name)


def test_every_exception_is_public() -> None:
    """People can catch whatever reaches them."""
    raised = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, ss.SutroStreamError)
    }
    assert raised <= set(NAMES)


def test_there_are_no_other_names() -> None:
    """Asking for one is an error as in any module."""
    assert not hasattr(ss, "read_excel")


def test_the_public_names_need_nothing_they_do_not_use(process: dict[str, Any]) -> None:
    """Neither the command line, nor other table libraries, nor the embedded engine."""
    foreign = {"click", "pandas", "polars", "pytest", "rich", "xllamacpp", "duckdb"}
    assert foreign.isdisjoint(process["modules"])


def test_importing_the_package_alone_is_quick(process: dict[str, Any]) -> None:
    """What takes long to import waits until a name is asked for."""
    assert {"pyarrow", "aiohttp", "pydantic"}.isdisjoint(process["at_once"])


def test_importing_does_nothing(process: dict[str, Any]) -> None:
    """No thread, no event loop (it would hold files open), no handler of any kind."""
    assert process["threads"] == 1
    assert process["unchanged"]
    assert process["log_handlers"] == 0


def test_every_module_can_be_imported_first() -> None:
    """Whatever order a program imports them in, there is no cycle to fall into."""
    assert output_of(IMPORT_EACH_ALONE) > 80
