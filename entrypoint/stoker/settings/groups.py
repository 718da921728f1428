"""How `--help` groups the flags, and which of them it shows without `--help-all`."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "served-model-name", "lora", "lora-source", "lora-refresh", "max-loras", "max-lora-rank"),
    "server": (
        *("host", "port", "api-key", "api-key-file", "tls-cert", "tls-key", "tls-client-ca", "cors-origins"),
        *("allowed-hosts", "trusted-proxies", "management-port", "management-host", "image", "api-workers"),
    ),
    "engine": (
        *(
            "engine",
            "profile",
            "goal",
            "precision",
            "kv-precision",
            "activation-precision",
            "max-seq-len",
            "max-batch-size",
            "max-num-tokens",
        ),
        *("tensor-parallel", "pipeline-parallel", "replicas", "speculative", "calibration", "tune", "no-tune"),
        *("engine-timeout", "restart-limit", "nodes", "node-rank", "leader", "dynamo"),
    ),
    "requests": (
        *("request-timeout", "drain-timeout", "max-queue", "max-body", "max-messages", "max-prompt-len"),
        *("max-connections", "keep-alive", "unknown-fields", "sampling-defaults", "response-store"),
        *("tool-parser", "reasoning-parser"),
    ),
    "cache": (
        *("cache", "offline", "remotes", "push", "check", "signatures", "public-key", "private-key", "cache-limit"),
    ),
    "settings and logs": ("config", "log-format", "log-level", "log-prompts", "otlp-endpoint"),
}
COMMON = frozenset(
    {
        *("model", "served-model-name", "lora", "host", "port", "api-key", "engine", "goal", "precision"),
        *("max-seq-len", "max-batch-size", "tensor-parallel", "replicas", "speculative", "cache", "offline"),
        *("config", "log-level", "image"),
    }
)
"""What most people look for."""

_OTHERS = "more"


def group_of(name: str) -> str:
    return next((title for title, names in GROUPS.items() if name in names), _OTHERS)
