"""The key of an endpoint: given once, or asked for when it is needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction

import anyio
from anyio import to_thread

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.endpoint import ApiKey

_LEAST_INTERVAL_S = 1.0


class KeySource:
    """Knows the key that requests carry.

    Concurrency: any number of tasks of one event loop; one of them asks.

    Attributes:
        key: The one in use; `None` for none, and before a function was asked.
    """

    def __init__(self, api_key: ApiKey | None) -> None:
        """A source that has not been asked."""
        self.key = api_key if isinstance(api_key, str) else None
        self._ask = None if isinstance(api_key, str) else api_key
        self._before: str | None = None
        self._asking = anyio.Lock()
        self._renewed_s: float | None = None

    def __repr__(self) -> str:
        return "<KeySource>"

    @property
    def known(self) -> tuple[str | None, str | None]:
        """The key in use and the one before, which messages must not hold either."""
        return self.key, self._before

    async def open(self) -> None:
        """Ask for the key, if it is to be asked for.

        Raises:
            ConfigurationError: There is no key to be had.
        """
        if self._ask is not None:
            self.key = await self._asked(self._ask)

    async def renew(self, refused: str | None) -> bool:
        """Ask anew after a refusal, at most once a second; whether the key differs.

        Args:
            refused: The key that was refused.

        Raises:
            ConfigurationError: There is no key to be had.
        """
        if self._ask is None:
            return False
        async with self._asking:
            now_s, renewed_s = anyio.current_time(), self._renewed_s
            is_late = renewed_s is None or now_s - renewed_s >= _LEAST_INTERVAL_S
            if self.key == refused and is_late:
                try:
                    self._before, self.key = refused, await self._asked(self._ask)
                finally:
                    self._renewed_s = anyio.current_time()
            return self.key != refused

    async def _asked(self, ask: Callable[[], str | Awaitable[str]]) -> str:
        try:
            # What is not async may block: the command of a vault, a request.
            is_async = iscoroutinefunction(ask)
            found = ask() if is_async else await to_thread.run_sync(ask)
            key: object = found if isinstance(found, str) else await found
        except ConfigurationError:
            raise
        except Exception as error:
            # Its message is left out: it may hold a key.
            raise ConfigurationError(
                f"api_key: asking for the key failed ({type(error).__name__})"
            ) from error
        if isinstance(key, str) and key:
            return key
        raise ConfigurationError("api_key: the function returned no key")
