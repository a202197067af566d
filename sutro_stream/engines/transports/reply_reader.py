"""From the bytes of one connection to the replies in them."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from sutro_stream.engines.transports import faults
from sutro_stream.engines.transports.compression import decompressed
from sutro_stream.engines.transports.transport import Reply, lower_names
from sutro_stream.errors import EngineError

_HEAD_LIMIT_BYTES = 64 << 10
_MOST_FIELDS = 128
# Around a body: chunks of few bytes each, trailers, replies that announce one.
_FRAMING_FACTOR = 2
_SWITCHING = 101  # to something else than HTTP: nothing follows that could be read


class ReplyReader:
    """Finds replies; knows no sockets.

    After any error, and where `can_go_on` is false after a reply, the connection is
    of no further use.

    Attributes:
        can_go_on: Whether another reply may follow the last one.
    """

    __slots__ = (
        "_body",
        "_feed",
        "_fields",
        "_head_read",
        "_limit_bytes",
        "_lower_names",
        "_names",
        "_parser",
        "_received_bytes",
        "_reply",
        "_where",
        "can_go_on",
        "on_body",
        "on_header",
    )

    def __init__(self, *, where: str, limit_bytes: int) -> None:
        """A reader at the start of a connection.

        Args:
            where: How messages call the endpoint.
            limit_bytes: Largest body accepted.
        """
        self.can_go_on = True
        self._where = where
        self._limit_bytes = limit_bytes
        self._body = bytearray()
        self._fields: dict[bytes, bytes] = {}
        # Of the last head: one after the other has the same, as a rule.
        self._names: tuple[bytes, ...] = ()
        self._lower_names: frozenset[bytes] = frozenset()
        self._head_read = False
        self._received_bytes = 0
        self._reply: Reply | None = None
        # The parser calls these for each piece: a call into C costs a third of one
        # of a function here.
        self.on_body = self._body.extend
        self.on_header = self._fields.setdefault
        self._parser = HttpResponseParser(self)
        # As lenient as browsers and aiohttp are.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self._feed = self._parser.feed_data

    def feed(self, data: bytes) -> Reply | None:
        """Take in what has arrived.

        Returns:
            The reply that is complete with it, `None` while it is not. What follows
            a reply is no reply to anything: then `can_go_on` is false.

        Raises:
            TransportError: It is not HTTP.
            ProtocolError: The reply is larger than the limit.
        """
        try:
            self._feed(data)
        except (HttpParserError, HttpParserUpgrade):
            self.can_go_on = False
            if self._reply is None:
                raise faults.not_http(self._where) from None
        reply, self._reply = self._reply, None
        if reply is None:
            self._received_bytes += len(data)
            self._check_size()
            return None
        self._received_bytes = 0
        if b"content-encoding" in reply.names or len(reply.body) > self._limit_bytes:
            return self._checked(reply)
        return reply

    def end(self) -> Reply:
        """The reply whose end is that of the connection.

        Raises:
            TransportError: There is none, or a part of it is missing.
            ProtocolError: The reply is larger than the limit.
        """
        self.can_go_on = False
        if not self._head_read:
            raise faults.silent(self._where)
        reply = self._taken()
        headers = reply.headers
        # Where a coding is named, it is chunked: the parser knows no other.
        if "content-length" in headers or "transfer-encoding" in headers:
            raise faults.cut(self._where)
        return self._checked(reply)

    def failure(self, error: BaseException) -> EngineError:
        """What to say of a connection that broke with this error."""
        if self._head_read:
            return faults.cut(self._where)
        return faults.broken(self._where, error)

    def unasked(self) -> EngineError:
        """What to say of bytes that came before a request had left."""
        return faults.unasked(self._where)

    # Called by the parser.

    def on_message_begin(self) -> None:
        """A head begins."""
        if self._reply is not None:
            self.can_go_on = False

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._head_read = True
        if len(self._fields) > _MOST_FIELDS:
            raise ValueError("too many header fields")

    def on_message_complete(self) -> None:
        """A reply has ended, or one that only announces another."""
        if self._reply is not None:
            return
        parser = self._parser
        status = parser.get_status_code()
        if 100 <= status < 200 and status != _SWITCHING:
            self._head_read = False
            self._fields.clear()
            return
        self.can_go_on = parser.should_keep_alive()
        self._reply = self._taken()

    def _taken(self) -> Reply:
        """What was read, as a reply; nothing is left of it here."""
        body, fields = self._body, self._fields
        names = tuple(fields)
        if names != self._names:
            self._names, self._lower_names = names, lower_names(names)
        reply = Reply(
            self._parser.get_status_code(),
            fields.copy(),
            self._lower_names,
            bytes(body),
        )
        body.clear()
        fields.clear()
        self._head_read = False
        return reply

    def _check_size(self) -> None:
        limit = self._limit_bytes
        if not self._head_read and self._received_bytes > _HEAD_LIMIT_BYTES:
            raise faults.not_http(self._where)
        most = _FRAMING_FACTOR * limit + _HEAD_LIMIT_BYTES
        if len(self._body) > limit or self._received_bytes > most:
            raise faults.too_large(limit)

    def _checked(self, reply: Reply) -> Reply:
        limit = self._limit_bytes
        if b"content-encoding" in reply.names:
            encoding = reply.headers.get("content-encoding", "")
            try:
                body = decompressed(reply.body, encoding, limit_bytes=limit)
            except ValueError:
                raise faults.cut(self._where) from None
            reply = reply._replace(body=body)
        if len(reply.body) > limit:
            raise faults.too_large(limit)
        return reply
