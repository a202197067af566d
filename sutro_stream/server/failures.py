"""Every error as Sutro's API tells it, and one place that logs them."""

from __future__ import annotations

import logging
import secrets
import time

from aiohttp import hdrs, web

from sutro_stream.errors import SutroStreamError
from sutro_stream.jobs.disk_space import insufficient_storage, is_lack_of_space
from sutro_stream.server.authentication import Handler
from sutro_stream.server.context import ACCOUNT, JOB_ID, REQUEST_ID, STARTED
from sutro_stream.server.sending import reply
from sutro_stream.wire import replies
from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.routes import REQUEST_ID_HEADER

_LOGGER = logging.getLogger("sutro_stream.server")
_REQUESTS = logging.getLogger("sutro_stream.server.requests")

_NAME = "sutro-stream"
_ID_BYTES = 12
_LONGEST_PATH = 200
_CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


@web.middleware
async def tell_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its ID, and whatever is raised its JSON."""
    request[REQUEST_ID] = f"req_{secrets.token_hex(_ID_BYTES)}"
    began = time.monotonic()
    status = 499  # as widely used for a client that left
    try:
        response = await _answered(request, handler)
        status = response.status
        return response
    finally:
        took_ms = (time.monotonic() - began) * 1e3
        # Without the query, which may be a signature.
        _REQUESTS.info(
            "%s %s %d %.0f ms %s",
            request.method,
            request.path,
            status,
            took_ms,
            request[REQUEST_ID],
            extra={
                **_named(request),
                "method": request.method,
                "path": request.path,
                "status": status,
                "took_ms": round(took_ms, 1),
            },
        )


async def note_start(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request's ID into a response that is about to be sent."""
    request[STARTED] = True
    # In place of the versions of what we are made of.
    response.headers[hdrs.SERVER] = _NAME
    response.headers.setdefault(REQUEST_ID_HEADER, request[REQUEST_ID])


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ConnectionError:
        # The client has left; there is nobody to tell.
        raise
    except ApiError as error:
        problem: ApiError = error
    except web.HTTPException as error:
        problem = _foreign(request, error)
    except Exception as error:  # noqa: BLE001 - the last place to tell of it
        problem = _unexpected(request, error)
    if request.get(STARTED, False):
        # Half of it is sent. Closed without its end, it cannot be taken for whole.
        raise ConnectionAbortedError
    body = replies.error(problem, request_id=request[REQUEST_ID])
    response = reply(request, body, status=problem.status)
    response.headers.update(problem.headers)
    return response


def _named(request: web.Request) -> dict[str, object]:
    """Whose request it is, for programs that read the log."""
    return {
        "request_id": request[REQUEST_ID],
        "account": request.get(ACCOUNT),
        "job_id": request.get(JOB_ID),
    }


def _foreign(request: web.Request, error: web.HTTPException) -> ApiError:
    """What aiohttp raises: routes, methods, sizes."""
    what = f"{request.method} {request.path}"[:_LONGEST_PATH]
    headers: dict[str, str] = {}
    if error.status == 404:
        detail = f"there is no route {what}"
    elif isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        headers[hdrs.ALLOW] = allowed
        detail = f"there is no route {what}; use {allowed}"
    else:
        detail = f"{what}: {error.reason.lower()}"
    code = _CODES.get(error.status, "request_failed")
    return ApiError(error.status, code, detail, headers=headers)


def _unexpected(request: web.Request, error: Exception) -> ApiError:
    what = f"{request.method} {request.path}", request[REQUEST_ID]
    if is_lack_of_space(error):
        _LOGGER.error("%s failed (%s): no space left", *what, extra=_named(request))
        return insufficient_storage()
    if isinstance(error, SutroStreamError):
        # Its text is written to be shown, to whoever runs the service.
        _LOGGER.error("%s failed (%s): %s", *what, error, extra=_named(request))
    else:
        _LOGGER.error("%s failed (%s)", *what, exc_info=error, extra=_named(request))
    detail = "the server failed to answer; its log says why, under this request_id"
    return ApiError(500, "internal_error", detail)
