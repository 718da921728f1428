"""Every setting, once: its flag is `--name`, its variable `STOKER_NAME`, its key in the YAML file `name`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stoker.settings.access import ACCESS_SETTINGS
from stoker.settings.adapters import ADAPTER_SETTINGS
from stoker.settings.fleet import FLEET_SETTINGS
from stoker.settings.setting import Setting, Value
from stoker.settings.stores import STORE_SETTINGS
from stoker.settings.tuning import TUNING_SETTINGS

PRECISIONS = (
    *("f32", "f16", "bf16", "int8", "int4", "int4_full", "int4_awq", "int4_gptq", "int8_sq"),
    *("int8_wo", "int4_wo", "fp8", "fp8_block", "nvfp4", "mxfp4", "w4a8_awq"),
)
TOOL_PARSERS = ("auto", "none", "hermes", "mistral", "granite", "phi4", "pythonic", "llama", "gemma")
REASONING_PARSERS = ("auto", "none", "think", "magistral", "granite")
ACTIVATION_PRECISIONS = ("bf16", "f16", "f32")
KV_PRECISIONS = ("u8", "bf16", "f16", "f32", "int8", "fp8", "none")

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "model",
        "text",
        "The model: `demo`, a directory, or a Hugging Face repository as `org/name`, `org/name@revision` or `hf://...`",
        metavar="MODEL",
        positional=True,
    ),
    Setting(
        "host",
        "text",
        "Address that the API listens on; `::` is all of IPv6 and IPv4, and what the images set",
        default="127.0.0.1",
        metavar="ADDRESS",
        applies_to=("serve", "up"),
    ),
    Setting(
        "port",
        "whole",
        "Port that the API listens on; 0 takes a free one",
        default=8000,
        metavar="PORT",
        applies_to=("serve", "manifest", "up"),
        minimum=0,
        maximum=65535,
    ),
    Setting(
        "cache",
        "path",
        "Directory of downloaded models and built engines; the images set `/cache`",
        shown_default="`$XDG_CACHE_HOME/stoker`, else `~/.cache/stoker`",
        metavar="DIR",
        applies_to=("serve", "plan", "build", "engines", "export", "doctor", "bench", "generate", "manifest", "up"),
    ),
    Setting(
        "profile",
        "text",
        "The profile to use, instead of the best one that fits",
        metavar="NAME",
        applies_to=("serve", "plan", "build", "export", "generate", "manifest", "up"),
    ),
    Setting(
        "engine",
        "text",
        "The engine kind to use, instead of the best one that serves the model",
        metavar="KIND",
    ),
    Setting(
        "goal",
        "text",
        "What to tune for: tokens/s over all streams, or the time of each",
        default="throughput",
        choices=("throughput", "latency"),
    ),
    Setting(
        "precision",
        "text",
        "Precision of the weights",
        choices=PRECISIONS,
        applies_to=("serve", "plan", "build", "export", "generate", "manifest", "up"),
    ),
    Setting("kv-precision", "text", "Precision of the KV cache", choices=KV_PRECISIONS),
    Setting(
        "activation-precision",
        "text",
        "Precision of the kernels, for engines that offer a choice; changes the speed and needs no rebuild",
        choices=ACTIVATION_PRECISIONS,
    ),
    Setting(
        "max-seq-len",
        "tokens",
        "Longest sequence, prompt and answer together, in tokens",
        metavar="TOKENS",
        minimum=1,
    ),
    Setting("max-batch-size", "whole", "Maximum number of concurrent sequences", metavar="N", minimum=1),
    Setting("max-num-tokens", "tokens", "Most tokens in one step of the engine", metavar="TOKENS", minimum=1),
    Setting("tensor-parallel", "whole", "Devices that share each layer", metavar="N", minimum=1),
    Setting(
        "replicas",
        "count",
        "Copies of the engine, each on devices of its own; `auto` uses every free GPU, and each NUMA node of a CPU",
        shown_default="`auto`",
        metavar="N",
        applies_to=("serve", "plan", "build", "export", "manifest", "up"),
        minimum=1,
    ),
    Setting(
        "speculative",
        "text",
        "How tokens are guessed before the model checks them: `off`, `lookup` (in the prompt), `draft=MODEL`, "
        "`eagle3=MODEL`, `mtp` (the model's own heads), or `auto`, which is off unless measurements show a gain",
        default="off",
        metavar="METHOD",
    ),
    Setting("pipeline-parallel", "whole", "Groups of devices that hold successive layers", metavar="N", minimum=1),
    Setting(
        "served-model-name",
        "text",
        "The model's name in the API; several names, separated by commas, are all accepted, and the first is reported",
        shown_default="`demo`, the repository, or the directory's name",
        metavar="NAMES",
    ),
    Setting("config", "path", "YAML file of settings", metavar="FILE", in_file=False),
    Setting(
        "calibration",
        "path",
        "Text file that calibrates quantised weights: int4_awq, int4_gptq, int8_sq, fp8, nvfp4 and w4a8_awq",
        shown_default="a short text of Stoker's own",
        metavar="FILE",
        applies_to=("serve", "plan", "build", "bench", "generate", "up"),
    ),
    Setting(
        "drain-timeout",
        "seconds",
        "How long requests in flight may take to finish after SIGTERM or Ctrl-C",
        default=30.0,
        metavar="SECONDS",
        applies_to=("serve", "manifest", "up"),
        minimum=0,
    ),
    Setting(
        "max-queue",
        "whole",
        "Requests that may wait for a place in the engine; more are refused with 429 or 503",
        default=512,
        metavar="N",
        applies_to=("serve", "manifest", "up"),
        minimum=0,
    ),
    Setting(
        "request-timeout",
        "seconds",
        "How long a request may take, waiting included; 0 sets no limit",
        default=0.0,
        metavar="SECONDS",
        applies_to=("serve", "manifest", "up"),
        minimum=0,
    ),
    Setting(
        "max-body",
        "whole",
        "Largest body of a request, in MiB",
        default=8,
        metavar="MIB",
        applies_to=("serve", "manifest", "up"),
        minimum=1,
    ),
    Setting(
        "max-messages",
        "whole",
        "Most messages in one request",
        default=4096,
        metavar="N",
        applies_to=("serve", "manifest", "up"),
        minimum=1,
    ),
    Setting(
        "max-prompt-len",
        "tokens",
        "Longest prompt",
        shown_default="what the context holds",
        metavar="TOKENS",
        applies_to=("serve", "manifest", "up"),
        minimum=1,
    ),
    Setting(
        "image",
        "text",
        "The image that is deployed, as your registry has it",
        shown_default="the image of the plan's engine kind, under the name that `images/build` gives it",
        metavar="NAME",
        applies_to=("manifest", "up"),
    ),
    *ACCESS_SETTINGS,
    Setting(
        "unknown-fields",
        "text",
        "How to treat unknown fields of a request: `warn` names them in the answer's Warning header, "
        "`reject` refuses the request",
        default="warn",
        choices=("warn", "reject"),
        applies_to=("serve", "manifest", "up"),
    ),
    Setting(
        "sampling-defaults",
        "text",
        "Sampling where a request does not say: as the `model`'s generation_config.json has it, or as `openai` does",
        default="model",
        choices=("model", "openai"),
        applies_to=("serve", "manifest", "up"),
    ),
    Setting(
        "keep-alive",
        "seconds",
        "How long idle connections are kept; longer than those of the load balancer in front, which mostly has 60 s",
        default=75.0,
        metavar="SECONDS",
        applies_to=("serve", "manifest", "up"),
    ),
    Setting(
        "max-connections",
        "whole",
        "Connections at once, of one address half of them; fewer where the limit of open files is lower",
        default=4096,
        metavar="N",
        applies_to=("serve", "manifest", "up"),
        minimum=1,
    ),
    Setting(
        "api-workers",
        "count",
        "Processes that answer the API on its one port; `auto` takes as many as the planned throughput needs",
        default=1,
        metavar="N",
        applies_to=("serve", "plan", "manifest", "up"),
        minimum=1,
        maximum=64,
    ),
    Setting(
        "response-store",
        "text",
        "Where /v1/responses stores responses, so that `previous_response_id` works: `memory` or a directory",
        shown_default="nothing is kept",
        metavar="PLACE",
        applies_to=("serve", "up"),
    ),
    Setting(
        "otlp-endpoint",
        "text",
        "Address of an OpenTelemetry collector (OTLP over HTTP) that traces are sent to; needs the extra `otel`",
        shown_default="none",
        metavar="URL",
        applies_to=("serve", "manifest", "up"),
    ),
    Setting(
        "log-prompts",
        "switch",
        "Write request bodies (the first 64 KiB of each) to the access log",
        default=False,
        applies_to=("serve", "manifest", "up"),
    ),
    Setting(
        "tool-parser",
        "text",
        "Format of the model's tool calls; `auto` detects it from the chat template",
        default="auto",
        choices=TOOL_PARSERS,
        applies_to=("serve", "manifest", "up"),
    ),
    Setting(
        "reasoning-parser",
        "text",
        "Format of the model's reasoning; `auto` detects it from the chat template",
        default="auto",
        choices=REASONING_PARSERS,
        applies_to=("serve", "manifest", "up"),
    ),
    Setting(
        "engine-timeout",
        "seconds",
        "How long an engine with waiting work may be silent before it is restarted",
        default=120.0,
        metavar="SECONDS",
        applies_to=("serve", "manifest", "up"),
        minimum=1,
    ),
    Setting(
        "restart-limit",
        "whole",
        "How often the engine may die within ten minutes before it is given smaller limits, and then given up",
        default=5,
        metavar="N",
        applies_to=("serve", "manifest", "up"),
        minimum=1,
    ),
    Setting(
        "log-format",
        "text",
        "Progress bars on a terminal and text lines elsewhere (`auto`), text lines, or JSON lines",
        default="auto",
        choices=("auto", "text", "json"),
    ),
    Setting("log-level", "text", "What to log", default="info", choices=("debug", "info", "warning", "error")),
    Setting(
        "offline",
        "switch",
        "Use only what the cache holds: no request to the hub or a remote",
        default=False,
        applies_to=("serve", "plan", "build", "export", "bench", "generate", "manifest", "up", "doctor"),
    ),
    *ADAPTER_SETTINGS,
    *STORE_SETTINGS,
    *TUNING_SETTINGS,
    *FLEET_SETTINGS,
)

BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


def default_of(setting: Setting, environ: Mapping[str, str]) -> Value:
    return default_cache(environ) if setting.name == "cache" else setting.default


def default_cache(environ: Mapping[str, str]) -> Path:
    """By the XDG base directory specification, which lets a relative XDG_CACHE_HOME count as unset."""
    given = Path(environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else _home(environ) / ".cache") / "stoker"


def _home(environ: Mapping[str, str]) -> Path:
    """For a user that has none, as containers run by number have not, a place that cannot be written, as Debian calls
    it: the error then says to name a cache, and only where none was named."""
    try:
        return Path(environ.get("HOME") or "~").expanduser()
    except RuntimeError:
        return Path("/nonexistent")


def canonical(name: str) -> str:
    """`max_seq_len` and `max-seq-len` are one name."""
    return name.replace("_", "-")
