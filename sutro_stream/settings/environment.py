"""The environment as it was when the program started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from sutro_stream.errors import ConfigurationError

API_KEY_VARIABLE = "SUTRO_STREAM_API_KEY"
DEPLOYMENT_URL_VARIABLE = "SUTRO_API_URL"
DEPLOYMENT_KEY_VARIABLE = "SUTRO_API_KEY"


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment as it was when the program started.

    Attributes:
        environment: Its variables; never shown, as some of them are secrets.
    """

    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The given variables, `None` for those of this process."""
        return cls(dict(os.environ if environment is None else environment))

    def api_key(self, variable: str | None = None) -> str | None:
        """The key for an engine's endpoint.

        Keys of other products are not looked for: a key must not travel to a host
        that its owner did not mean it for.

        Args:
            variable: Name of the variable that holds it; `None` is the usual one,
                which need not be set.

        Returns:
            The key, `None` when there is none.

        Raises:
            ConfigurationError: A variable was named and holds nothing.
        """
        key = self.environment.get(variable or API_KEY_VARIABLE, "").strip()
        if key:
            return key
        if variable is not None:
            # The name is left out: some people will type the key itself here.
            raise ConfigurationError(
                "--api-key-env: no such environment variable is set; give the "
                "name of the variable that holds the key"
            )
        return None

    def deployment_url(self) -> str:
        """The address of a deployment.

        Raises:
            ConfigurationError: The variable is not set.
        """
        url = self.environment.get(DEPLOYMENT_URL_VARIABLE, "").strip()
        if url:
            return url
        raise ConfigurationError(
            f"which deployment? Set {DEPLOYMENT_URL_VARIABLE} to its address, or give "
            "--deployment URL"
        )

    def deployment_key(self, variable: str | None = None) -> str:
        """The key for a deployment.

        Args:
            variable: Name of the variable that holds it, `None` for the usual one.

        Raises:
            ConfigurationError: The variable is not set.
        """
        if variable is not None:
            return self.api_key(variable) or ""
        key = self.environment.get(DEPLOYMENT_KEY_VARIABLE, "").strip()
        if key:
            return key
        raise ConfigurationError(
            f"a deployment needs an API key: set {DEPLOYMENT_KEY_VARIABLE} to it"
        )
