"""Functions run at once, for one input."""

from __future__ import annotations

from aiohttp import web

from sutro_stream.server.context import REQUEST_ID, account_of, deployment_of
from sutro_stream.server.receiving import small_body
from sutro_stream.server.sending import reply
from sutro_stream.wire import replies
from sutro_stream.wire.requests import parse_function_run

_LARGEST_BODY_BYTES = 32 << 20


async def run_function(request: web.Request) -> web.Response:
    """Answer with a Function's output.

    Cancellation: the model is asked no longer.
    """
    body = await small_body(request, limit_bytes=_LARGEST_BODY_BYTES)
    asked = parse_function_run(body)
    run = await deployment_of(request).run_function(
        account_of(request),
        request.match_info["name"],
        asked.input,
        confidence=asked.confidence_scoring,
    )
    return reply(
        request,
        replies.function_run(
            run.function,
            request_id=request[REQUEST_ID],
            model=run.model,
            answered_by=run.answered_by,
            output=run.output,
            confidence=run.confidence,
            usage=run.usage,
            cost_usd=run.cost_usd,
        ),
    )
