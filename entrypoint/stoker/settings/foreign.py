"""Flags of other servers (vLLM's `serve`), for who comes from there: what means the same here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stoker.nearest import nearest
from stoker.settings.spec import SETTINGS

# A setting of ours, or in words what becomes of it.
VLLM: Mapping[str, str] = {
    "allowed-origins": "--cors-origins",
    "api-keys": "--api-key",
    "download-dir": "--cache",
    "dtype": "--precision",
    "generation-config": "--sampling-defaults",
    "kv-cache-dtype": "--kv-precision",
    "max-model-len": "--max-seq-len",
    "max-num-batched-tokens": "--max-num-tokens",
    "max-num-seqs": "--max-batch-size",
    "model": "the model as an argument of its own: stoker serve MODEL",
    "otlp-traces-endpoint": "--otlp-endpoint",
    "pipeline-parallel-size": "--pipeline-parallel",
    "quantization": "--precision",
    "revision": "the revision behind the model's name: MODEL@REVISION",
    "ssl-ca-certs": "--tls-client-ca",
    "ssl-certfile": "--tls-cert",
    "ssl-keyfile": "--tls-key",
    "tensor-parallel-size": "--tensor-parallel",
    "tool-call-parser": "--tool-parser",
    "uvicorn-log-level": "--log-level",
}
NOT_NEEDED: Mapping[str, str] = {
    "disable-log-requests": "no prompts are logged unless --log-prompts says so",
    "enable-auto-tool-choice": "the model may always choose among a request's tools",
    "enable-chunked-prefill": "the engine does that by itself",
    "enable-prefix-caching": "prefixes are always cached",
    "enforce-eager": "the plan decides how the engine runs",
    "gpu-memory-utilization": "the plan decides how much memory is used; `stoker plan` shows it",
    "trust-remote-code": "no code of a model's repository is ever run",
}


def remedy_for(arguments: Iterable[str], default: str, own: Iterable[str] = ()) -> str:
    """What to use instead of the first flag among arguments that nobody knows. `own`: the flags of the command, which
    come before those of others."""
    flag = next((each for each in arguments if each.startswith("--")), "")
    name = flag.removeprefix("--").partition("=")[0].replace("_", "-")
    if name in VLLM:
        return f"did you mean {VLLM[name]}? --{name} is vLLM's"
    if name in NOT_NEEDED:
        return f"leave it out: {NOT_NEEDED[name]}"
    flags = [each.removeprefix("--") for each in own if each.startswith("--")]
    guess = name and (nearest(name, flags) or nearest(name, (setting.name for setting in SETTINGS)))
    return f"did you mean --{guess}?" if guess else default
