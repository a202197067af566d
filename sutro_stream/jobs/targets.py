"""What a name in a request stands for: a model, an own model, or a Function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sutro_stream.engines.confidence import scored_field
from sutro_stream.errors import ConfigurationError
from sutro_stream.functions.registry import FunctionRegistry
from sutro_stream.values.catalogue import Catalogue, Model, ModelKind
from sutro_stream.values.function import Function
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.job import JobSpec
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema
from sutro_stream.wire.api_error import ApiError, not_found


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who answers, and how rows become prompts.

    Attributes:
        model: The standalone model that is asked in the end.
        function: Renders the rows; `None` for rows that are prompts already.
        is_published: Whether it is a published Function, whose prompt and schema
            belong to it; otherwise a custom model, or none.
    """

    model: Model
    function: Function | None = None
    is_published: bool = False

    @property
    def confidence_field(self) -> str | None:
        """Output field whose confidence is told; `None` where it is not, or cannot."""
        function = self.function
        if function is None or function.confidence is None:
            return None
        if not function.confidence.enabled or not self.model.confidence:
            return None
        if function.confidence.field is not None:
            return function.confidence.field
        schema = function.instructions.schema
        return None if schema is None else scored_field(schema)

    def sampling(self, asked: Mapping[str, Any] | None) -> SamplingParams:
        """Sampling parameters as effective: request over Function over model."""
        merged = self.model.sampling
        if merged.max_tokens is None and self.model.max_output_tokens is not None:
            merged = replace(merged, max_tokens=self.model.max_output_tokens)
        if self.model.kind is ModelKind.EMBEDDING:
            merged = SamplingParams()
        if self.function is not None:
            merged = merged.merged(self.function.instructions.sampling)
        return merged.merged(SamplingParams.parse(asked or {}))

    def instructions(self, spec: JobSpec) -> Instructions:
        """What all requests of a job share.

        Raises:
            ConfigurationError: The schema or a sampling parameter is not valid.
        """
        own = Instructions() if self.function is None else self.function.instructions
        schema = own.schema
        if spec.json_schema is not None:
            schema = OutputSchema.parse(dict(spec.json_schema), what="json_schema")
        return Instructions(
            model=self.model.served_name or self.model.name,
            system_prompt=spec.system_prompt or own.system_prompt,
            schema=schema,
            sampling=SamplingParams.parse(spec.sampling_params or {}),
        )


class Targets:
    """Resolves names; reads the registry, so its methods block."""

    def __init__(self, catalogue: Catalogue, registry: FunctionRegistry) -> None:
        self._catalogue = catalogue
        self._registry = registry

    @property
    def default(self) -> str:
        """What a request means that names nothing."""
        return self._catalogue.default

    def named(self, name: str | None, *, account: str) -> Target:
        """What a request means by a name, now.

        Args:
            name: `None` is the deployment's default.
            account: Whose Functions and models are looked at.

        Raises:
            ApiError: There is nothing of this name.
        """
        wanted = name or self._catalogue.default
        model = self._catalogue.model(wanted)
        if model is not None:
            return Target(model=model)
        custom = self._catalogue.custom_model(wanted, account=account)
        if custom is not None:
            return self._rendered(custom.function, is_published=False)
        function = self._registry.latest(account, wanted)
        if function is None:
            raise ApiError(
                404,
                "model_not_found",
                f"model: {wanted!r} is neither a model of this deployment nor a "
                "Function of this account",
            )
        return self._rendered(function, is_published=True)

    def published(self, name: str, *, account: str) -> Target:
        """A published Function of the account, in its latest revision.

        Raises:
            ApiError: There is none of this name, or its model is not offered.
        """
        function = self._registry.latest(account, name)
        if function is None:
            raise not_found(f"the Function {name!r}", code="function_not_found")
        return self._rendered(function, is_published=True)

    def of_job(self, spec: JobSpec) -> Target:
        """What a job was accepted for, its Function in the pinned revision.

        Raises:
            ConfigurationError: It is not there any more.
        """
        try:
            if spec.function is None or spec.revision is None:
                return self.named(spec.model, account=spec.account)
            function = self._registry.revision(
                spec.account, spec.function, spec.revision
            )
            if function is not None:
                return self._rendered(function, is_published=True)
        except ApiError as error:
            raise ConfigurationError(error.detail) from error
        raise ConfigurationError(
            f"revision {spec.revision} of the Function {spec.function!r} is not there "
            "any more"
        )

    def _rendered(self, function: Function, *, is_published: bool) -> Target:
        wanted = function.instructions.model or self._catalogue.default
        model = self._catalogue.model(wanted)
        if model is None:
            raise ApiError(
                422,
                "model_not_available",
                f"the Function {function.name!r} asks for the model {wanted!r}, which "
                "this deployment does not have",
            )
        return Target(model=model, function=function, is_published=is_published)
