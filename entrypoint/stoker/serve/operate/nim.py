"""What NVIDIA NIM 1.x reports about itself, for those who ask for it: its operator, gateways and dashboards."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response

from stoker.serve.http.errors import ApiError
from stoker.serve.http.replies import json_response
from stoker.serve.operate.service import Service
from stoker.version import __version__

_LICENCE = {
    "name": "Apache-2.0",
    "path": "LICENSE",
    "type": "file",
    "url": "https://www.apache.org/licenses/LICENSE-2.0.txt",
}


def add_nim(app: FastAPI, service: Service) -> None:
    @app.get("/v1/metadata", tags=["observation"])
    async def metadata() -> Response:
        """Version, model, licence, and the profile that is served."""
        return json_response(_metadata(service.plan or {}))

    @app.get("/v1/version", tags=["observation"])
    async def version() -> Response:
        """The version of this server, and of the API."""
        return json_response({"release": __version__, "api": __version__})

    @app.get("/v1/license", tags=["observation"])
    async def licence() -> Response:
        """The licence of this server; the model has one of its own."""
        return json_response(_LICENCE)

    @app.get("/v1/manifest", tags=["observation"], responses={404: {"description": "No plan yet"}})
    async def manifest() -> Response:
        """The profiles of this model: the one that is served, and the others with the reason against them."""
        if service.plan is None:
            raise ApiError(404, "There is no plan yet; see /v1/health/startup.", code="not_found")
        return json_response(_manifest(service.plan))


def _metadata(plan: dict[str, Any]) -> dict[str, Any]:
    model = plan.get("model", {})
    name, reference = model.get("served_name", ""), model.get("reference", "")
    asset = "@".join(filter(None, (reference, model.get("revision", ""))))
    return {
        "version": __version__,
        "assetInfo": [asset] if asset else [],
        "licenseInfo": _LICENCE,
        "modelInfo": [{"modelUrl": reference, "shortName": name}] if name else [],
        "repository_override": "",
        "selectedModelProfileId": plan.get("chosen", {}).get("profile", ""),
    }


def _manifest(plan: dict[str, Any]) -> dict[str, Any]:
    served = {"profile": plan["chosen"]["profile"], "served": True}
    return {"model": plan["model"]["served_name"], "profiles": [served, *plan.get("rejected", [])]}
