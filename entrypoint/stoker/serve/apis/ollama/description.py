"""What Ollama's clients ask about models: /api/tags, /api/ps, /api/show."""

from __future__ import annotations

import hashlib

from stoker.serve.apis.ollama.answers import timestamp
from stoker.serve.apis.ollama.names import served_name, tagged
from stoker.serve.apis.ollama.requests import ShowRequest
from stoker.serve.http.errors import invalid
from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service
from stoker.serve.request.chat_template import ChatTemplate
from stoker.serve.request.purpose import TEXT, VECTORS, purpose_of

_NEVER = "2999-12-31T00:00:00Z"
_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


def tags(service: Service) -> dict[str, object]:
    """Empty until the model is ready."""
    return {"models": [{**card, "modified_at": _modified(service)} for card in _cards(service)]}


def running(service: Service) -> dict[str, object]:
    """The one model, under each of its names; it is never unloaded."""
    plan, serving = service.plan or {}, service.lifecycle.serving
    devices = len(plan.get("chosen", {}).get("devices", ()))
    memory = plan.get("memory", {}).get("total", 0)
    length = serving.frontend.context.length if serving else 0
    loaded = {"size": memory * (devices or 1), "size_vram": memory * devices, "expires_at": _NEVER}
    return {"models": [{**card, **loaded, "context_length": length} for card in _cards(service)]}


def show(request: ShowRequest, frontend: Frontend, service: Service) -> dict[str, object]:
    """ApiError, 404, for another model."""
    asked = request.model or request.name
    if not asked:
        raise invalid("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    name = served_name(asked, frontend)
    template = frontend.chat_template.source if isinstance(frontend.chat_template, ChatTemplate) else ""
    defaults = frontend.context.defaults.given()
    return {
        "license": "",
        "modelfile": f"# served by Stoker\nFROM {tagged(name)}\n",
        "parameters": "\n".join(f"{key:<30} {value}" for key, value in defaults.items()),
        "template": template,
        "details": _details(service),
        "model_info": _info(frontend, service),
        "capabilities": _capabilities(frontend),
        "modified_at": _modified(service),
    }


def _capabilities(frontend: Frontend) -> list[str]:
    purpose = purpose_of(frontend)
    if purpose != TEXT:
        return ["embedding"] if purpose == VECTORS else []
    found = {"tools": frontend.tool_family, "thinking": frontend.thinking}
    return ["completion", *(name for name, has in found.items() if has is not None)]


def _cards(service: Service) -> list[dict[str, object]]:
    serving, plan = service.lifecycle.serving, service.plan or {}
    names = serving.frontend.names if serving else ()
    about = {"size": plan.get("model", {}).get("weight_bytes", 0), "details": _details(service)}
    return [
        {"name": tagged(name), "model": tagged(name), "digest": _digest(name, serving.frontend), **about}
        for name in names
        if serving is not None
    ]


def _digest(name: str, frontend: Frontend) -> str:
    return hashlib.sha256(f"{name}@{frontend.fingerprint}".encode()).hexdigest()


def _modified(service: Service) -> str:
    serving = service.lifecycle.serving
    return timestamp(serving.frontend.created if serving else 0)


def _details(service: Service) -> dict[str, object]:
    plan = service.plan or {}
    family = plan.get("model", {}).get("architecture", {}).get("model_type", "")
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": _count(plan.get("model", {}).get("parameters", 0)),
        "quantization_level": str(plan.get("chosen", {}).get("precision", "")).upper(),
    }


def _info(frontend: Frontend, service: Service) -> dict[str, object]:
    model = (service.plan or {}).get("model", {})
    facts, family = model.get("architecture", {}), model.get("architecture", {}).get("model_type", "model")
    own = {
        "context_length": frontend.context.length,
        "embedding_length": facts.get("hidden_size", frontend.dimensions),
        "block_count": facts.get("layers", 0),
        "attention.head_count": facts.get("heads", 0),
        "attention.head_count_kv": facts.get("kv_heads", 0),
        "vocab_size": frontend.vocabulary_size,
    }
    general = {"general.architecture": family, "general.parameter_count": model.get("parameters", 0)}
    return {**general, **{f"{family}.{name}": value for name, value in own.items()}}


def _count(parameters: int) -> str:
    for unit, letter in _UNITS:
        if parameters >= unit:
            return f"{parameters / unit:.1f}{letter}"
    return str(parameters)
