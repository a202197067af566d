"""Who sends a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TypeAlias

from aiohttp import hdrs, web
from anyio import to_thread

from sutro_stream.server.context import ACCOUNT, deployment_of
from sutro_stream.wire.api_error import ApiError

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SCHEMES = frozenset({"key", "bearer"})
_HOW = "send 'Authorization: Key <your API key>'"


def authenticated(handler: Handler) -> Handler:
    """A handler that is reached with a key in use only, and knows its account."""

    @wraps(handler)
    async def checked(request: web.Request) -> web.StreamResponse:
        key = _key(request.headers.getall(hdrs.AUTHORIZATION, []))
        account = await to_thread.run_sync(deployment_of(request).account_of, key)
        if account is None:
            raise _refused("the API key is unknown or revoked")
        request[ACCOUNT] = account
        return await handler(request)

    return checked


def _key(values: list[str]) -> str:
    if not values:
        raise _refused(f"no API key was sent; {_HOW}")
    scheme, _, key = values[0].strip().partition(" ")
    key = key.strip()
    if len(values) > 1 or scheme.lower() not in _SCHEMES or not key or " " in key:
        raise _refused(f"the header Authorization is not understood; {_HOW}")
    return key


def _refused(detail: str) -> ApiError:
    return ApiError(401, "unauthenticated", detail, headers={"WWW-Authenticate": "Key"})
