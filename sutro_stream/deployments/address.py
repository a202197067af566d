"""Where a deployment is, and which addresses may be sent what."""

from __future__ import annotations

from ipaddress import ip_address

from yarl import URL

from sutro_stream.errors import ConfigurationError

_VERSION = "/v1"


def api_base(address: str) -> URL:
    """The address that routes lie under, ending in `/v1`.

    Args:
        address: An origin, with or without `/v1`.

    Raises:
        ConfigurationError: It is no such address, or plain HTTP to another machine.
    """
    try:
        url = URL(address.strip())
        complete = url.scheme in {"http", "https"} and bool(url.host) and bool(url.port)
    except ValueError:
        complete = False
    if not complete:
        raise ConfigurationError(
            "the deployment's address must be an origin such as "
            "https://batch.example.com, with or without /v1"
        )
    if url.user is not None or url.password is not None:
        raise ConfigurationError(
            "the deployment's address must not hold a user or a password; the API "
            "key is given apart"
        )
    if url.raw_query_string or url.raw_fragment:
        raise ConfigurationError(
            "the deployment's address must not have a query or a fragment"
        )
    if url.path.rstrip("/") not in {"", _VERSION}:
        raise ConfigurationError(
            f"the deployment's address has the path {url.path}; give the origin alone, "
            "or the origin and /v1"
        )
    if not is_private_enough(url):
        raise ConfigurationError(
            f"{origin(url)}: plain http would show the API key on the way; use https "
            "(http is for this machine only)"
        )
    return url.with_path(_VERSION)


def is_private_enough(url: URL) -> bool:
    """Whether nobody on the way can read along."""
    return url.scheme == "https" or (url.scheme == "http" and _is_here(url.host or ""))


def origin(url: URL) -> str:
    """Scheme, host and port; safe to show."""
    return f"{url.scheme}://{url.host_subcomponent}:{url.port}"


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
