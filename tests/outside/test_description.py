"""What is described is what is served, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sutro_stream.jobs.config import ServiceConfig
from sutro_stream.server.app import create_app
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.values.catalogue import Catalogue
from sutro_stream.wire.openapi import description
from sutro_stream.wire.routes import PREFIXES

OUTSIDE = {"/healthz", "/openapi.json"}
NOT_DESCRIBED = {"/metrics"}
"""For operators; there where it is switched on."""


def test_every_route_is_served_and_described(tmp_path: Path) -> None:
    """By method, below each prefix."""
    app = create_app(
        DeploymentSettings(
            service=ServiceConfig(data_dir=tmp_path, catalogue=Catalogue(models={}))
        )
    )
    served = {
        (route.method, route.resource.canonical.replace("{key:.+}", "{key}"))
        for route in app.router.routes()
        if route.resource is not None
    }
    described: dict[str, Any] = description(version="1")["paths"]
    wanted = {
        (method.upper(), prefix + path)
        for path, operations in described.items()
        for method in operations.keys() - {"parameters", "servers"}
        for prefix in (("",) if path in OUTSIDE else PREFIXES)
    }
    # aiohttp answers HEAD where there is a GET.
    wanted |= {("HEAD", path) for path in OUTSIDE}
    assert {route for route in served if route[1] not in NOT_DESCRIBED} == wanted


async def test_it_needs_no_key(client: Any) -> None:
    """Tools read it before they have one."""
    answer = await client.ask("GET", "/openapi.json", key=None)
    assert answer.status == 200
    assert answer.json["openapi"] == "3.1.0"
