"""From options to the endpoints that they describe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from sutro_stream.cli.answering import AnsweringOptions
from sutro_stream.errors import ConfigurationError
from sutro_stream.settings import Settings
from sutro_stream.settings.key_command import key_command
from sutro_stream.values.endpoint import USUAL_DIALECT, ApiKey, Endpoint


def endpoints_of(options: AnsweringOptions, settings: Settings) -> list[Endpoint]:
    """Each endpoint with its key; one endpoint once for each of its keys.

    Raises:
        UsageError: An option is not of the form that it must have.
        ConfigurationError: A variable or a file that was named is not there.
    """
    headers = dict(_headers(options, settings))
    extra_body = _extra_body(options.extra_body)
    keys = _keys(options, settings)
    addresses = list(options.engine)
    if len(addresses) == 1:
        addresses *= len(keys)
    elif len(keys) == 1:
        keys *= len(addresses)
    return [
        Endpoint(
            url=address,
            api_key=key,
            dialect=options.dialect or USUAL_DIALECT,
            stream=options.stream,
            headers=headers,
            extra_body=extra_body,
            transport=options.transport,
            proxy=options.proxy,
            ca_file=options.ca_file,
        )
        for address, key in zip(addresses, keys, strict=True)
    ]


def unused_proxies(options: AnsweringOptions, settings: Settings) -> Iterator[str]:
    """What to say of proxies that the environment names, and that are not used."""
    if options.proxy is not None or options.is_local:
        return
    found = (settings.unused_proxy(address) for address in options.engine)
    for name in dict.fromkeys(filter(None, found)):
        yield (
            f"{name} is set, and not used; to send requests through that proxy, give "
            "its address with --proxy"
        )


def _keys(options: AnsweringOptions, settings: Settings) -> list[ApiKey | None]:
    if options.api_key_command is not None:
        return [key_command(options.api_key_command)]
    if options.api_key_env:
        return [settings.api_key(variable) for variable in options.api_key_env]
    return [settings.api_key()]


def _headers(
    options: AnsweringOptions, settings: Settings
) -> Iterator[tuple[str, str]]:
    for item in options.header:
        yield _pair(item, "--header", "NAME=VALUE, as in X-Team=growth")
    for item in options.header_env:
        name, variable = _pair(
            item, "--header-env", "NAME=VARIABLE, as in X-Token=GATEWAY_TOKEN"
        )
        value = settings.variable(
            variable, what="--header-env", holds="the header's value"
        )
        yield name, value


def _pair(item: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    # Not shown: what stands before a sign may be a part of a secret as well.
    if not name or not equals or ":" in name or " " in name:
        raise click.UsageError(f"{option} takes {form}")
    return name, value


def _extra_body(given: str | None) -> dict[str, Any]:
    if given is None:
        return {}
    text, what = given, "--extra-body"
    if given.startswith("@"):
        path = Path(given[1:])
        what = f"--extra-body {path}"
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise ConfigurationError(f"{what}: {reason}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{what}: not UTF-8 text") from None
    try:
        body = json.loads(text, parse_constant=_no_number)
    except ValueError as error:
        raise ConfigurationError(f"{what}: not JSON: {error}") from None
    if not isinstance(body, dict):
        raise ConfigurationError(
            f'{what}: takes a JSON object, as in {{"top_k": 5}}, or @FILE with one'
        )
    return body


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
