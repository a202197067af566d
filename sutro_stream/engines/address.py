"""Where requests to an OpenAI-compatible endpoint go, and what they carry."""

from __future__ import annotations

import re
from collections.abc import Mapping

from yarl import URL

from sutro_stream.errors import ConfigurationError

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
# What an identity provider gives: three parts of base64, the first of them JSON.
_TOKEN = re.compile(r"eyJ[\w-]*\.[\w-]+\.")
_OF_THE_BODY = frozenset({"content-length", "transfer-encoding"})


def base_address(base_url: str) -> URL:
    """The address up to and with the version.

    Raises:
        ConfigurationError: It is not an http(s) URL.
    """
    try:
        url = URL(base_url)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigurationError(
            "the engine's address must be an http:// or https:// URL such as "
            "http://127.0.0.1:8000/v1"
        )
    return url


def below(base: URL, path: str) -> URL:
    """A route below the version, with the base's query."""
    return base.with_path(base.path.rstrip("/") + path).with_query(base.query)


def beside(base: URL, path: str) -> URL:
    """A route beside the version, as servers have them that are not OpenAI's."""
    return below(base.with_path(base.path.rstrip("/").removesuffix("/v1")), path)


def origin(url: URL) -> str:
    """Scheme, host and port; safe to show."""
    return f"{url.scheme}://{url.host_subcomponent}:{url.port}"


def proxy_address(proxy: str) -> URL:
    """The address of a proxy, which is not shown: it may hold a password.

    Raises:
        ConfigurationError: It is not an http URL.
    """
    try:
        url = URL(proxy)
    except ValueError:
        url = URL()
    if url.scheme != "http" or not url.host:
        raise ConfigurationError(
            "the proxy's address must be an http:// URL such as "
            "http://proxy.example.com:3128; proxies of other kinds are not known"
        )
    return url


def request_headers(
    base: URL,
    *,
    api_key: str | None,
    further: Mapping[str, str],
    key_header: str | None = None,
) -> dict[str, str]:
    """The header fields of each request with a JSON body.

    Args:
        base: Where requests go.
        api_key: Their key, `None` for none.
        further: Other fields.
        key_header: Field of keys that are no tokens, `None` for `Authorization`.

    Raises:
        ConfigurationError: The key is no key, or there are two of them; or a header
            is none, or one that belongs to the body.
    """
    headers = {"Content-Type": "application/json"}
    for name, value in further.items():
        _check_header(name, value)
        headers[name] = value
    if api_key is not None:
        if not api_key.isascii() or not api_key.isprintable():
            raise ConfigurationError("the API key holds characters no key has")
        if key_header is None or _TOKEN.match(api_key):
            headers["Authorization"] = f"Bearer {api_key}"
        else:
            headers[key_header] = api_key
    names = {name.lower() for name in headers}
    if base.user is not None and "authorization" in names:
        raise ConfigurationError(
            "the engine's address holds a user and a password, and a key was "
            "given as well; use one of them"
        )
    return headers


def _check_header(name: str, value: str) -> None:
    # Neither is shown that is wrong: it may be a key, or hold one.
    if not _HEADER_NAME.fullmatch(name):
        raise ConfigurationError(
            "a header's name holds characters that cannot be sent; it is made of "
            "letters, digits and hyphens"
        )
    if not _HEADER_VALUE.fullmatch(value):
        raise ConfigurationError(
            f"header {name!r}: its value holds characters that cannot be sent"
        )
    if name.lower() in _OF_THE_BODY:
        raise ConfigurationError(
            f"header {name!r}: it is made for each request; leave it out"
        )
