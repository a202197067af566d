"""The deployment's configuration file (TOML), as people write it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from sutro_stream.errors import ConfigurationError
from sutro_stream.settings.price_file import PriceTable
from sutro_stream.values.endpoint import USUAL_DIALECT, Dialect, TransportName
from sutro_stream.values.parsing import parse_json

_Positive = Annotated[int, Field(ge=1)]
_Price = Annotated[float, Field(ge=0)]
_Seconds = Annotated[float, Field(gt=0)]
_Text = Annotated[str, Field(min_length=1)]

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTable:
    """Table `[server]`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    host: _Text = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8642
    public_url: str | None = None
    trust_forwarded: bool = False
    certificate: _Text | None = None
    private_key: _Text | None = None
    max_connections: _Positive = 10_000
    metrics: bool = False
    traces: bool = False
    unread_s: _Seconds = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsTable:
    """Table `[limits]`; what is not given keeps its default."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    max_body_bytes: _Positive | None = None
    max_running_jobs: _Positive | None = None
    disk_floor_bytes: Annotated[int, Field(ge=0)] | None = None
    retention_days: Annotated[float, Field(gt=0)] | Literal["never"] | None = None
    function_requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    function_deadline_s: _Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlsTable:
    """Table `[urls]`: input files that jobs name by address."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    allow_private: bool = False
    max_bytes: _Positive | None = None
    timeout_s: _Seconds | None = None
    flatten_newlines: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaTable:
    """Tables `[quotas.0]` and `[quotas.1]`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    rows: _Positive
    tokens: _Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointTable:
    """One entry of a model's `endpoints`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    url: str
    api_key_env: _Text | None = None
    api_key_command: _Text | None = None
    dialect: Dialect = USUAL_DIALECT
    stream: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    header_env: dict[str, _Text] = field(default_factory=dict)
    extra_body: dict[str, Any] = field(default_factory=dict)
    transport: TransportName | None = None
    proxy: _Text | None = None
    ca_file: _Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTable:
    """A table `[models.NAME]`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    kind: Literal["chat", "embedding"] = "chat"
    endpoints: list[EndpointTable] = field(default_factory=list)
    gguf: _Text | None = None
    served_name: _Text | None = None
    concurrency: _Positive | None = None
    context_window: _Positive | None = None
    max_output_tokens: _Positive | None = None
    reasoning: bool = False
    logprobs: bool = False
    confidence: bool = False
    sampling: dict[str, Any] = field(default_factory=dict)
    price: PriceTable | None = None
    input_price: _Price = 0.0
    output_price: _Price = 0.0
    mean_output_tokens: _Positive = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomModelTable:
    """An entry of `[[custom_models]]`."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    account: _Text
    function: _Text


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFile:
    """The whole file."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    default_model: _Text | None = None
    server: ServerTable = field(default_factory=ServerTable)
    limits: LimitsTable = field(default_factory=LimitsTable)
    urls: UrlsTable = field(default_factory=UrlsTable)
    quotas: dict[Literal["0", "1"], QuotaTable] = field(default_factory=dict)
    models: dict[str, ModelTable] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    custom_models: list[CustomModelTable] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> DeploymentFile:
        """Read and check the file's form; what its names mean is not looked at.

        Raises:
            ConfigurationError: It cannot be read, is no TOML, or has fields that
                are unknown or of the wrong type; one line for each mistake.
        """
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise ConfigurationError(f"{path}: {reason}") from None
        except ValueError as error:
            raise ConfigurationError(f"{path}: not TOML: {error}") from None
        # As JSON: a strict dataclass takes no mapping.
        raw = json.dumps(data, default=str).encode()
        return parse_json(_adapter(), raw, what=str(path))


@cache
def _adapter() -> TypeAdapter[DeploymentFile]:
    return TypeAdapter(DeploymentFile)
