"""The scripted chat server: an OpenAI-compatible endpoint that does as told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import anyio
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from sutro_stream.testing.chat_server.answers import (
    Answer,
    chat_answer,
    error_answer,
    json_answer,
)
from sutro_stream.testing.chat_server.delivery import (
    ClosedResponse,
    WholeResponse,
    deliver_cut,
    deliver_slowly,
    finished,
)
from sutro_stream.testing.chat_server.replies import (
    Cut,
    Hang,
    HugeBody,
    Reply,
    SlowBody,
)
from sutro_stream.testing.chat_server.requests import (
    AttemptCounter,
    ChatRequest,
    first_system_prompt,
    last_prompt,
    parse_body,
)
from sutro_stream.testing.chat_server.scripts import Script, echo
from sutro_stream.testing.chat_server.statistics import ChatServerStatistics, Tally

_HOST = "127.0.0.1"
_BACKLOG = 4096  # the usual 128 makes bursts of connections wait for a second
_STOP_S = 5.0  # connections are aborted first, so this is a last resort
_WRONG_KEY = "Incorrect API key provided."

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ScriptedChatServer:
    """An OpenAI-compatible chat server on the loopback address, driven by a script.

    Use as `async with ScriptedChatServer(script) as server:` and point a client at
    `server.base_url`. Routes: `POST /v1/chat/completions`, `GET /v1/models`,
    `GET /health`, `GET /statistics`, `POST /statistics/reset`.

    Leaving the block closes every connection at once, also those still waiting for
    an answer.

    Concurrency: runs on the event loop that enters it; one server per object, and
    an object serves once.

    Args:
        script: Decides each reply; `None` is `echo()`.
        api_key: Key that `Authorization: Bearer` must carry; `None` asks for none.
        models: Names that `GET /v1/models` lists. Requests may name any model.
        record_last: How many of the newest requests `requests` keeps; 0 for none.
        port: Port to listen on; 0 picks a free one.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        api_key: str | None = None,
        models: Sequence[str] = ("scripted",),
        record_last: int = 0,
        port: int = 0,
    ) -> None:
        self._script = script or echo()
        self._authorization = None if api_key is None else f"Bearer {api_key}"
        self._models = tuple(models)
        self._recorded: deque[ChatRequest] = deque(maxlen=record_last)
        self._port = port
        self._tally = Tally()
        self._attempts = AttemptCounter()
        self._server: _CountingServer | None = None
        self._runner: web.ServerRunner | None = None
        self._routes: Mapping[str, tuple[str, _Handler]] = {
            "/v1/chat/completions": ("POST", self._chat),
            "/v1/models": ("GET", self._list_models),
            "/health": ("GET", self._health),
            "/statistics": ("GET", self._show_statistics),
            "/statistics/reset": ("POST", self._reset_statistics),
        }

    @property
    def base_url(self) -> str:
        """Address for OpenAI clients, `/v1` included. Known once entered."""
        return f"http://{_HOST}:{self._port}/v1"

    @property
    def requests(self) -> Sequence[ChatRequest]:
        """The newest chat requests that were well-formed, oldest first."""
        return tuple(self._recorded)

    def statistics(self) -> ChatServerStatistics:
        """What the server has seen up to now."""
        return self._tally.statistics()

    def reset_statistics(self) -> None:
        """Start counting anew; what is in flight and open now stays counted."""
        self._tally.reset()

    async def wait_until(
        self, holds: Callable[[ChatServerStatistics], bool]
    ) -> ChatServerStatistics:
        """Wait until the statistics satisfy a condition, and return them.

        Meant for conditions that last, as in
        `await server.wait_until(lambda seen: seen.in_flight == 8)` with a script
        that holds its replies; a state that passes within one turn of the event
        loop may be missed.
        """
        while not holds(seen := self.statistics()):
            await self._tally.changed()
        return seen

    async def __aenter__(self) -> Self:
        """Start to listen.

        Raises:
            OSError: The port is taken.
        """
        self._server = _CountingServer(self._handle, self._tally)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, _HOST, self._port, backlog=_BACKLOG)
        try:
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self._port = site.port
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening and close every connection."""
        if self._runner is None or self._server is None:
            return
        with anyio.CancelScope(shield=True):
            for site in self._runner.sites:
                await site.stop()
            self._server.abort_connections()
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        route = self._routes.get(path) or self._routes.get(path.partition("?")[0])
        if route is None:
            return _whole(request, error_answer(404, f"No such route: {path}"))
        method, handler = route
        if request.method != method:
            return _whole(request, error_answer(405, f"Use {method} for {path}"))
        return await handler(request)

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        sequence = self._tally.arrived()
        try:
            delivery = await self._deliver(request, sequence)
        except asyncio.CancelledError:
            self._tally.disconnected()
            raise
        except ConnectionError:
            self._tally.disconnected()
            return ClosedResponse()
        except Exception:  # the script's own: aiohttp logs it and answers 500
            self._tally.answered(500)
            raise
        if delivery is None:
            self._tally.cut()
            return ClosedResponse()
        response, tail = delivery
        self._tally.answered(response.status)
        return await finished(response, tail)

    async def _deliver(
        self, request: web.BaseRequest, sequence: int
    ) -> tuple[web.StreamResponse, bytes] | None:
        """Do all but count: the response and its unsent tail, `None` if cut."""
        raw = await request.content.read()
        if self._refuses(request):
            return _whole(request, error_answer(401, _WRONG_KEY)), b""
        try:
            chat_request = self._parsed(request, raw, sequence)
        except ValueError as error:
            return _whole(request, error_answer(400, f"{error}")), b""
        reply = self._script(chat_request) or Reply()
        await _hold(reply)
        answer = chat_answer(chat_request, reply)
        match reply.fault:
            case Cut() as cut:
                await deliver_cut(request, answer, cut)
                return None
            case SlowBody() | HugeBody() as fault:
                return await deliver_slowly(request, answer, fault)
        return _whole(request, answer), b""

    def _parsed(
        self, request: web.BaseRequest, raw: bytes, sequence: int
    ) -> ChatRequest:
        body = parse_body(raw)
        prompt = last_prompt(body)
        attempt = self._attempts.count(prompt)
        if attempt > 1:
            self._tally.repeated()
        chat_request = ChatRequest(
            sequence=sequence,
            attempt=attempt,
            prompt=prompt,
            system_prompt=first_system_prompt(body),
            body=body,
            headers=request.headers,
            arrived_s=asyncio.get_running_loop().time(),
            in_flight=self._tally.in_flight,
        )
        self._recorded.append(chat_request)
        return chat_request

    def _refuses(self, request: web.BaseRequest) -> bool:
        wanted = self._authorization
        return wanted is not None and request.headers.get("Authorization") != wanted

    async def _list_models(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._refuses(request):
            return _whole(request, error_answer(401, _WRONG_KEY))
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "script"}
            for name in self._models
        ]
        return _whole(request, json_answer({"object": "list", "data": models}))

    async def _health(self, request: web.BaseRequest) -> web.StreamResponse:
        return _whole(request, json_answer({"status": "ok"}))

    async def _show_statistics(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = Answer(
            status=200,
            content_type="application/json",
            headers={},
            pieces=(self.statistics().to_json(),),
        )
        return _whole(request, answer)

    async def _reset_statistics(self, request: web.BaseRequest) -> web.StreamResponse:
        self.reset_statistics()
        return await self._show_statistics(request)


class _CountingServer(web.Server):
    """aiohttp's server, counting connections; a lost client cancels its handler."""

    def __init__(self, handler: _Handler, tally: Tally) -> None:
        super().__init__(handler, handler_cancellation=True, access_log=None)
        self._tally = tally

    def connection_made(
        self, handler: RequestHandler, transport: asyncio.Transport
    ) -> None:
        super().connection_made(handler, transport)
        self._tally.connection_opened()

    def connection_lost(
        self, handler: RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        self._tally.connection_closed()

    def abort_connections(self) -> None:
        """Drop every connection without sending what is buffered."""
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.abort()


def _whole(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    return WholeResponse(answer, keep_alive=request.keep_alive)


async def _hold(reply: Reply) -> None:
    if reply.latency_s > 0:
        await anyio.sleep(reply.latency_s)
    if reply.after is not None:
        await reply.after.wait()
    if isinstance(reply.fault, Hang):
        await anyio.sleep_forever()
