"""Loading and unloading adapters while the server runs, for operators: vLLM's endpoints, on the management port."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from stoker.errors import HubUnreachableError, ModelNotFoundError, StokerError
from stoker.launch.generation import EngineDiedError
from stoker.serve.http.errors import ApiError, from_stoker, invalid, unavailable
from stoker.serve.operate.adapters import AdapterError, Loader
from stoker.serve.operate.service import Service

_T = TypeVar("_T")


class LoadRequest(msgspec.Struct):
    """`load_inplace`: takes the place of an adapter of that name."""

    lora_name: str
    lora_path: str
    load_inplace: bool = False


class UnloadRequest(msgspec.Struct):
    lora_name: str
    lora_int_id: int | None = None


def add_adapters(app: FastAPI, service: Service) -> None:
    @app.post("/v1/load_lora_adapter", tags=["adapters"])
    async def load(request: Request) -> Response:
        """Serves an adapter under a name of its own: a folder of --lora-source, or org/name@revision."""
        wanted = _read(await request.body(), LoadRequest)
        try:
            await _loader(service).load(wanted.lora_name, wanted.lora_path, replace=wanted.load_inplace)
            await _agreed(service)
        except StokerError as error:
            raise _api_error(error) from error
        return PlainTextResponse(f"Success: LoRA adapter '{wanted.lora_name}' added successfully.")

    @app.post("/v1/unload_lora_adapter", tags=["adapters"])
    async def unload(request: Request) -> Response:
        """No new request is given the adapter; those under way go on."""
        wanted = _read(await request.body(), UnloadRequest)
        try:
            _loader(service).unload(wanted.lora_name)
            await _agreed(service)
        except StokerError as error:
            raise _api_error(error, 404) from error
        return PlainTextResponse(f"Success: LoRA adapter '{wanted.lora_name}' removed successfully.")


async def _agreed(service: Service) -> None:
    """All of the API's processes know."""
    if service.crew is not None:
        await service.crew.agree()


def _read(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The body is not what this endpoint takes: {error}") from error


def _loader(service: Service) -> Loader:
    adapters = service.adapters
    if not service.lifecycle.ready or adapters.loader is None:
        raise unavailable("The model is still being prepared; see /v1/health/startup.", "not_ready")
    if not adapters.most:
        raise invalid("The engine takes no adapters: start the server with --max-loras.", code="unsupported_parameter")
    return adapters.loader


def _api_error(error: StokerError, status: int = 400) -> ApiError:
    if isinstance(error, HubUnreachableError):
        return unavailable(str(error), "not_ready")
    if isinstance(error, EngineDiedError):
        return from_stoker(error)
    if isinstance(error, ModelNotFoundError):
        return ApiError(404, str(error), param="lora_path", code="model_not_found")
    code = "model_not_found" if status == 404 and isinstance(error, AdapterError) else "invalid_value"
    return ApiError(
        status, str(error), param="lora_name" if isinstance(error, AdapterError) else "lora_path", code=code
    )
