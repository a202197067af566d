"""From a configuration file to a deployment's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from sutro_stream.engines.chat import ChatEngine
from sutro_stream.engines.embedded_model import model_file
from sutro_stream.errors import ConfigurationError
from sutro_stream.jobs.config import USUAL_QUOTAS, Quota, ServiceConfig, UrlPolicy
from sutro_stream.settings.deployment_file import (
    CustomModelTable,
    DeploymentFile,
    EndpointTable,
    LimitsTable,
    ModelTable,
    ServerTable,
    UrlsTable,
)
from sutro_stream.settings.environment import Settings
from sutro_stream.settings.key_command import key_command
from sutro_stream.values.catalogue import Catalogue, CustomModel, Model, ModelKind
from sutro_stream.values.endpoint import ApiKey, Endpoint
from sutro_stream.values.function import Function
from sutro_stream.values.sampling import SamplingParams

EMBEDDED_MODEL = "smollm2-135m"
"""The model of a deployment without a configuration file."""

DEFAULT_MODEL = "gpt-oss-20b"
"""What a request that names no model asks for, by Sutro's API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How a deployment is reached.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        public_url: Origin that download links start with, and the path a proxy takes
            away, if it does; `None` for that of the request.
        trust_forwarded: Whether a proxy's `X-Forwarded-Proto` and `X-Forwarded-Host`
            say how the request was addressed; only for a server that nobody else
            can reach.
        certificate: File of the TLS certificate chain, `None` for plain HTTP.
        private_key: File of its key, `None` where the certificate's holds it.
        max_connections: Most connections at once; fewer where this process may not
            have as many files open.
        metrics: Whether `/metrics` is served, to anybody who can reach the server.
        traces: Whether traces are sent; where to, the variables `OTEL_*` say.
        unread_s: Seconds after which a connection is broken whose client does not
            read what it was sent.
    """

    host: str = "127.0.0.1"
    port: int = 8642
    public_url: str | None = None
    trust_forwarded: bool = False
    certificate: Path | None = None
    private_key: Path | None = None
    max_connections: int = 10_000
    metrics: bool = False
    traces: bool = False
    unread_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSettings:
    """Everything that an operator has said.

    Attributes:
        service: What is offered, and within which limits.
        server: How it is reached.
    """

    service: ServiceConfig
    server: ServerSettings = ServerSettings()

    @classmethod
    def load(
        cls,
        path: str | PathLike[str] | None = None,
        *,
        data_dir: str | PathLike[str],
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Read a configuration file.

        Args:
            path: The file (TOML); relative names in it are looked for beside it.
                `None` offers the embedded model, under Sutro's default name too.
            data_dir: Folder of everything that is kept.
            environment: Where the keys of endpoints are looked up, `None` for the
                variables of this process.

        Raises:
            ConfigurationError: The file, or one that it names, cannot be read or
                makes no sense; says where.
        """
        folder = Path(data_dir)
        if path is None:
            return cls(
                service=ServiceConfig(data_dir=folder, catalogue=_usual_catalogue())
            )
        path = Path(path)
        file = DeploymentFile.read(path)
        try:
            return cls(
                service=_service(
                    file,
                    data_dir=folder,
                    beside=path.parent,
                    settings=Settings.load(environment),
                ),
                server=_server(file.server, beside=path.parent),
            )
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from None


def _usual_catalogue() -> Catalogue:
    return Catalogue(
        models={EMBEDDED_MODEL: Model(name=EMBEDDED_MODEL)},
        aliases={DEFAULT_MODEL: EMBEDDED_MODEL},
        default=DEFAULT_MODEL,
    )


def _service(
    file: DeploymentFile, *, data_dir: Path, beside: Path, settings: Settings
) -> ServiceConfig:
    quotas = {int(key): table for key, table in file.quotas.items()}
    config = ServiceConfig(
        data_dir=data_dir,
        catalogue=_catalogue(file, beside=beside, settings=settings),
        quotas={
            **USUAL_QUOTAS,
            **{key: Quota(rows=q.rows, tokens=q.tokens) for key, q in quotas.items()},
        },
        urls=_urls(file.urls),
        flatten_newlines=file.urls.flatten_newlines,
    )
    return replace(config, **dict(_limits(file.limits)))


def _limits(table: LimitsTable) -> Iterator[tuple[str, Any]]:
    for field in fields(table):
        value = getattr(table, field.name)
        if value is not None:
            yield field.name, None if value == "never" else value


def _urls(table: UrlsTable) -> UrlPolicy:
    policy = UrlPolicy(allow_private=table.allow_private)
    if table.max_bytes is not None:
        policy = replace(policy, max_bytes=table.max_bytes)
    if table.timeout_s is not None:
        policy = replace(policy, timeout_s=table.timeout_s)
    return policy


def _server(table: ServerTable, *, beside: Path) -> ServerSettings:
    if table.private_key is not None and table.certificate is None:
        raise ConfigurationError("server.private_key: there is no server.certificate")
    if table.public_url is not None:
        _check_address(table.public_url, "server.public_url")
    return ServerSettings(
        host=table.host,
        port=table.port,
        public_url=None if table.public_url is None else table.public_url.rstrip("/"),
        trust_forwarded=table.trust_forwarded,
        certificate=_existing(table.certificate, beside, "server.certificate"),
        private_key=_existing(table.private_key, beside, "server.private_key"),
        max_connections=table.max_connections,
        metrics=table.metrics,
        traces=table.traces,
        unread_s=table.unread_s,
    )


def _existing(name: str | None, beside: Path, what: str) -> Path | None:
    if name is None:
        return None
    path = beside / name
    if not path.is_file():
        raise ConfigurationError(f"{what}: there is no file {path}")
    return path


# Models.


def _catalogue(file: DeploymentFile, *, beside: Path, settings: Settings) -> Catalogue:
    if not file.models:
        usual = _usual_catalogue()
        models, aliases = usual.models, {**usual.aliases, **file.aliases}
    else:
        models = {
            name: _model(name, table, beside=beside, settings=settings)
            for name, table in file.models.items()
        }
        aliases = file.aliases
    catalogue = Catalogue(
        models=models,
        aliases=aliases,
        custom=tuple(
            _custom(table, f"custom_models[{index}]", beside=beside)
            for index, table in enumerate(file.custom_models)
        ),
        default=file.default_model or _default(models, aliases),
    )
    _check_names(catalogue)
    return catalogue


def _default(models: Mapping[str, Model], aliases: Mapping[str, str]) -> str:
    """Sutro's default where it is offered, else the first model."""
    offered = DEFAULT_MODEL in models or DEFAULT_MODEL in aliases
    return DEFAULT_MODEL if offered else next(iter(models))


def _check_names(catalogue: Catalogue) -> None:
    for alias, name in catalogue.aliases.items():
        if alias in catalogue.models:
            raise ConfigurationError(f"aliases.{alias!r}: that is the name of a model")
        if name not in catalogue.models:
            raise ConfigurationError(f"aliases.{alias!r}: there is no model {name!r}")
    if catalogue.model(catalogue.default) is None:
        raise ConfigurationError(
            f"default_model: {catalogue.default!r} is neither a model nor an alias"
        )
    seen: set[tuple[str, str]] = set()
    for index, custom in enumerate(catalogue.custom):
        what = f"custom_models[{index}]"
        name, model = custom.function.name, custom.function.instructions.model
        if catalogue.model(name) is not None or (custom.account, name) in seen:
            raise ConfigurationError(f"{what}: {name!r} is the name of another model")
        if model is not None and catalogue.model(model) is None:
            raise ConfigurationError(f"{what}: its model {model!r} is not offered")
        seen.add((custom.account, name))


def _custom(table: CustomModelTable, what: str, *, beside: Path) -> CustomModel:
    try:
        function = Function.load(beside / table.function)
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error}") from None
    if function.has_images:
        raise ConfigurationError(f"{what}: a deployment's Functions take no images")
    return CustomModel(account=table.account, function=function)


def _model(name: str, table: ModelTable, *, beside: Path, settings: Settings) -> Model:
    what = f"models.{name}"
    if not name or name != name.strip() or "/" in name:
        raise ConfigurationError(f"{what}: a name has no slash and no spaces around it")
    if table.endpoints and table.gguf is not None:
        raise ConfigurationError(
            f"{what}: endpoints answer, or the embedded engine with gguf, not both"
        )
    price = table.price
    if price is not None and (table.input_price or table.output_price):
        raise ConfigurationError(
            f"{what}: price, or input_price and output_price, not both"
        )
    endpoints = tuple(
        _endpoint(
            endpoint, f"{what}.endpoints[{index}]", beside=beside, settings=settings
        )
        for index, endpoint in enumerate(table.endpoints)
    )
    return Model(
        name=name,
        kind=ModelKind(table.kind),
        endpoints=endpoints,
        gguf=None if table.gguf is None else model_file(beside / table.gguf),
        served_name=table.served_name,
        concurrency=table.concurrency,
        context_window=table.context_window,
        max_output_tokens=table.max_output_tokens,
        reasoning=table.reasoning,
        logprobs=table.logprobs,
        confidence=table.confidence,
        sampling=SamplingParams.parse(table.sampling, what=f"{what}.sampling"),
        input_price=table.input_price if price is None else price.input,
        output_price=table.output_price if price is None else price.output,
        cached_input_price=None if price is None else price.cached_input,
        mean_output_tokens=table.mean_output_tokens,
    )


def _endpoint(
    table: EndpointTable, what: str, *, beside: Path, settings: Settings
) -> Endpoint:
    _check_address(table.url, f"{what}.url", has_query=True)
    if table.api_key_env is not None and table.api_key_command is not None:
        message = f"{what}: api_key_env and api_key_command exclude each other"
        raise ConfigurationError(message)
    key: ApiKey | None = None
    if table.api_key_env is not None:
        key = settings.variable(
            table.api_key_env, what=f"{what}.api_key_env", holds="the key"
        )
    elif table.api_key_command is not None:
        key = key_command(table.api_key_command, what=f"{what}.api_key_command")
    headers = dict(table.headers)
    for name, variable in table.header_env.items():
        headers[name] = settings.variable(
            variable, what=f"{what}.header_env", holds="the header's value"
        )
    endpoint = Endpoint(
        url=table.url,
        api_key=key,
        dialect=table.dialect,
        stream=table.stream,
        headers=headers,
        extra_body=table.extra_body,
        transport=table.transport,
        proxy=table.proxy,
        ca_file=_existing(table.ca_file, beside, f"{what}.ca_file"),
    )
    try:
        # What cannot be an engine is told now, not by the first job.
        ChatEngine.of(endpoint)
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error}") from None
    return endpoint


def _check_address(url: str, what: str, *, has_query: bool = False) -> None:
    """Refuse what is no plain address; the text is not repeated, it may hold a key."""
    try:
        parts = urlsplit(url)
        plain = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and not (parts.username or parts.password or parts.fragment)
            and (has_query or not parts.query)
            and parts.port != 0
        )
    except ValueError:
        plain = False
    if not plain:
        without = "user and fragment" if has_query else "user, query and fragment"
        raise ConfigurationError(f"{what}: not an http(s) address, without {without}")
