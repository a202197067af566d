"""The models that a deployment offers, and who answers for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sutro_stream.values.endpoint import Endpoint
from sutro_stream.values.function import Function
from sutro_stream.values.sampling import SamplingParams

EMBEDDED_CONTEXT_TOKENS = 2048
"""Window of each request to the embedded engine when the operator says nothing."""


class ModelKind(StrEnum):
    """What a model makes of a prompt."""

    CHAT = "chat"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A standalone model.

    Attributes:
        name: What people ask for.
        kind: Chat or embedding.
        endpoints: Who answers, several of them sharing the work; empty for the
            embedded engine.
        gguf: Model file of the embedded engine, `None` for the one installed.
        served_name: The endpoint's name for it, `None` where that is `name`; the
            embedded engine has one model and ignores it.
        concurrency: Requests in flight, all jobs together; `None` for what suits
            the engine.
        context_window: Tokens of prompt and answer together, `None` if not known.
        max_output_tokens: Of an answer where neither request nor defaults say so;
            `None` leaves it to the endpoint.
        reasoning: Whether answers are given with the thinking before them.
        logprobs: Whether the endpoint is asked for log-probabilities.
        confidence: Whether answers of Functions that ask for it are scored by the
            probabilities of their tokens.
        sampling: Defaults under those of Functions and requests.
        input_price: USD for a million input tokens.
        cached_input_price: USD for a million input tokens that the endpoint had
            cached, `None` where they cost as much as others.
        output_price: USD for a million output tokens.
        mean_output_tokens: Of an answer, for estimates.
    """

    name: str
    kind: ModelKind = ModelKind.CHAT
    endpoints: tuple[Endpoint, ...] = ()
    gguf: Path | None = None
    served_name: str | None = None
    concurrency: int | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    reasoning: bool = False
    logprobs: bool = False
    confidence: bool = False
    sampling: SamplingParams = SamplingParams()
    input_price: float = 0.0
    output_price: float = 0.0
    cached_input_price: float | None = None
    mean_output_tokens: int = 100

    @property
    def window(self) -> int | None:
        """The context window in tokens, that of the embedded engine included."""
        if self.context_window is None and not self.endpoints:
            return EMBEDDED_CONTEXT_TOKENS
        return self.context_window


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomModel:
    """A model with declared inputs that belongs to an account.

    Attributes:
        account: Who may ask for it.
        function: Its name, inputs, template and defaults; its model is a name or an
            alias of the catalogue.
    """

    account: str
    function: Function


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All models of a deployment.

    Attributes:
        models: By name.
        aliases: Other names, each for the name of a model.
        custom: Models of accounts.
        default: The model of a request that names none; a name or an alias.
    """

    models: Mapping[str, Model]
    aliases: Mapping[str, str] = field(default_factory=dict)
    custom: tuple[CustomModel, ...] = ()
    default: str = "gpt-oss-20b"

    def model(self, name: str) -> Model | None:
        """The standalone model of this name or alias, `None` if there is none."""
        return self.models.get(self.aliases.get(name, name))

    def custom_model(self, name: str, *, account: str) -> CustomModel | None:
        """The account's own model of this name, `None` if there is none."""
        for entry in self.custom:
            if entry.account == account and entry.function.name == name:
                return entry
        return None
