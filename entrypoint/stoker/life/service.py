"""What the API takes from the settings and from the plan."""

from __future__ import annotations

import ssl
from pathlib import Path

from stoker.errors import UsageError
from stoker.plan.types import Plan
from stoker.serve.apis.openai_responses.store import ResponseStore, store_of
from stoker.serve.generate.admission import Capacity
from stoker.serve.http.keys import Keys
from stoker.serve.http.limits import Limits
from stoker.serve.http.peers import networks_of
from stoker.serve.http.tls import TlsFiles, reloading_context
from stoker.serve.operate.service import Exposure, Service
from stoker.serve.operate.tracing import Tracer, open_tracer
from stoker.settings.layers import Settings


def limits_of(settings: Settings) -> Limits:
    return Limits(
        body_bytes=int(settings["max-body"].value) << 20,
        messages=int(settings["max-messages"].value),
        prompt_tokens=int(settings["max-prompt-len"].value or 0),
        seconds=float(settings["request-timeout"].value),
        queue=int(settings["max-queue"].value),
    )


def exposure_of(settings: Settings) -> Exposure:
    """UsageError for keys that cannot be read, and for proxies that are no addresses."""
    keys = Keys(str(settings["api-key"].value or ""), settings["api-key-file"].value)
    return Exposure(
        keys=keys,
        cors_origins=_words(settings, "cors-origins"),
        allowed_hosts=_words(settings, "allowed-hosts"),
        trusted_proxies=networks_of(str(settings["trusted-proxies"].value or "")),
        management_apart=settings["management-port"].value is not None,
        log_prompts=bool(settings["log-prompts"].value),
    )


def _words(settings: Settings, name: str) -> tuple[str, ...]:
    return tuple(str(settings[name].value or "").replace(",", " ").split())


def responses_of(settings: Settings) -> ResponseStore | None:
    """UsageError for a directory that cannot be made."""
    place = settings["response-store"].value
    try:
        return store_of(place)
    except OSError as error:
        raise UsageError(f"responses cannot be kept in {place}", why=str(error)) from error


def tracer_of(settings: Settings) -> Tracer | None:
    """UsageError where OpenTelemetry is not installed."""
    endpoint = settings["otlp-endpoint"].value
    return open_tracer(str(endpoint)) if endpoint else None


def service_of(settings: Settings) -> Service:
    """UsageError for a setting that cannot be followed."""
    return Service(
        limits=limits_of(settings),
        exposure=exposure_of(settings),
        responses=responses_of(settings),
        tracer=tracer_of(settings),
        reject_unknown=settings["unknown-fields"].value == "reject",
    )


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """UsageError for files that cannot be used."""
    certificate: Path | None = settings["tls-cert"].value
    key: Path | None = settings["tls-key"].value
    client_ca: Path | None = settings["tls-client-ca"].value
    if certificate is None:
        if key or client_ca:
            raise UsageError("TLS needs a certificate", remedy="give --tls-cert")
        return None
    return reloading_context(TlsFiles(certificate, key or certificate, client_ca))


def capacity_of(plan: Plan, replicas: int | None = None) -> Capacity:
    """Of all replicas, or of so many. A few sequences more than the batch, so that a place that comes free is taken in
    the engine's next step."""
    batch, kv, count = plan.chosen.max_batch_size, plan.memory.kv, len(plan.replicas) if replicas is None else replicas
    extra = max(1, batch // 8)
    return Capacity(count * (batch + extra), count * kv.blocks, kv.block_tokens, count * extra, kv.blocks)
