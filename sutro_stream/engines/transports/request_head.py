"""What stands before the body of every request."""

from __future__ import annotations

import base64

from yarl import URL

from sutro_stream.engines.transports.transport import Destination
from sutro_stream.version import __version__

_USUAL = {
    "accept": "*/*",
    # Replies are small, and inflating them costs more than all the rest.
    "accept-encoding": "identity",
    "user-agent": f"sutro-stream/{__version__}",
}


def request_head(destination: Destination) -> bytes:
    """The head of a POST up to the length of its body, which follows with two CRLFs."""
    url = destination.url
    fields = {"host": url.host_port_subcomponent or "", **_USUAL}
    if url.user is not None:
        fields["authorization"] = basic_credentials(url)
    for name, value in destination.headers.items():
        fields[name.lower()] = value
    lines = [f"POST {url.raw_path_qs} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "content-length: "]).encode()


def basic_credentials(url: URL) -> str:
    """The user and password of an address, as header fields have them."""
    pair = f"{url.user}:{url.password or ''}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
