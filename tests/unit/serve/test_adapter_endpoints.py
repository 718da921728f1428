"""What operators are told of an adapter that is not loaded: whose fault it is, for they may try again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx
import pytest
from httpx import ASGITransport

from stoker.errors import HubUnreachableError, ModelNotFoundError, StokerError, UnsupportedModelError
from stoker.launch.generation import died
from stoker.serve.http.app import create_management_app
from stoker.serve.operate.adapters import AdapterError, Served
from stoker.serve.operate.service import Service


@dataclass
class Failing:
    error: StokerError

    async def load(self, name: str, path: str, *, replace: bool) -> Served:
        raise self.error

    def unload(self, name: str) -> Served:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (died("it was killed"), 503, "engine_died"),
        (HubUnreachableError("no hub"), 503, "not_ready"),
        (ModelNotFoundError("no such directory"), 404, "model_not_found"),
        (UnsupportedModelError("DoRA"), 400, "invalid_value"),
        (AdapterError("it has no place"), 400, "invalid_value"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, StokerError) else "",
)
def test_a_failure_to_load_is_told_by_whose_fault_it_is(
    service: Service, error: StokerError, status: int, code: str
) -> None:
    async def ask() -> httpx.Response:
        transport = ASGITransport(create_management_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/v1/load_lora_adapter", json={"lora_name": "one", "lora_path": "org/one"})

    service.adapters.most, service.adapters.loader = 1, Failing(error)
    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status == 503)
