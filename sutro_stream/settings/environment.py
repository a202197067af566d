"""The environment as it was when the program started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self
from urllib.parse import urlsplit

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
        if variable is not None:
            return self.variable(variable, what="--api-key-env", holds="the key")
        return self.environment.get(API_KEY_VARIABLE, "").strip() or None

    def variable(self, name: str, *, what: str, holds: str) -> str:
        """The value of a variable that somebody named.

        Args:
            name: Of the variable.
            what: Where it was named, for messages.
            holds: What it is to hold, for messages.

        Raises:
            ConfigurationError: It is not set, or empty.
        """
        value = self.environment.get(name, "").strip()
        if value:
            return value
        # The name is left out: some people will type the secret itself here.
        raise ConfigurationError(
            f"{what}: no such environment variable is set; give the name of the "
            f"variable that holds {holds}"
        )

    def unused_proxy(self, url: str) -> str | None:
        """Name of the variable of a proxy for this address, which is not used.

        Proxies are used where they are given, as keys are. Of interest is what other
        programs would do: `NO_PROXY` is respected, and this machine itself needs none.

        Returns:
            `None` where there is none.
        """
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower().rstrip(".")
        except ValueError:
            return None
        if _is_this_machine(host) or self._is_excepted(host):
            return None
        for name in (f"{parts.scheme}_proxy", "all_proxy"):
            for spelled in (name, name.upper()):
                if self.environment.get(spelled, "").strip():
                    return spelled
        return None

    def _is_excepted(self, host: str) -> bool:
        value = self.environment.get("no_proxy") or self.environment.get("NO_PROXY", "")
        for entry in value.lower().split(","):
            name = entry.strip().rpartition("@")[2].partition(":")[0].lstrip(".")
            if name == "*" or (name and f".{host}".endswith(f".{name}")):
                return True
        return False

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


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
