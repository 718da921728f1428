"""How the values of NVIDIA NIM's variables are read: from their text to the text of our settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from stoker.errors import UsageError

Environment: TypeAlias = Mapping[str, str]
# A value and all variables -> our settings and their texts; none where the value asks for nothing.
Reading: TypeAlias = Callable[[str, Environment], Mapping[str, str]]

_ON = frozenset({"1", "true", "yes", "on"})
_LEVELS = {"trace": "debug", "critical": "error", "warn": "warning", "default": "", "none": ""}
_PRECISIONS = {"fp32": "f32", "float32": "f32", "fp16": "f16", "float16": "f16", "bfloat16": "bf16"}
_TOOL_PARSERS = {
    **{name: name for name in ("hermes", "mistral", "granite", "pythonic", "auto", "none")},
    "llama3_json": "llama",
    "llama4_json": "llama",
    "llama4_pythonic": "pythonic",
    "granite-20b-fc": "granite",
    "phi4_mini_json": "phi4",
}
_BY_TAG = {
    "precision": "precision",
    "tp": "tensor-parallel",
    "pp": "pipeline-parallel",
    "profile": "goal",
    "llm_engine": "engine",
    "backend": "engine",
}
# <engine>-[<gpu>-]<precision>-tp<N>[-pp<N>][-latency|-throughput][...], as NIM names its profiles.
_PROFILE = re.compile(
    r"(?P<llm_engine>[a-z_]+)-(?:.+-)?(?P<precision>[a-z0-9_]+)-tp(?P<tp>[0-9]+)(?:-pp(?P<pp>[0-9]+))?"
    r"(?:-(?P<profile>latency|throughput))?(?:-.*)?"
)
_TLS_PAIR = (("NIM_SSL_CERTS_PATH", "NIM_SSL_CERT_PATH"), ("NIM_SSL_KEY_PATH",))
_TLS_FILES = {"DISABLED": (), "TLS": _TLS_PAIR, "MTLS": (*_TLS_PAIR, ("NIM_SSL_CA_CERTS_PATH",))}
_PROFILE_ID = re.compile(r"[0-9a-f]{64}")


class NotHonouredError(ValueError):
    """A value of a variable that others are taken of; the text says what to use instead."""


@dataclass(frozen=True)
class Taken:
    """A variable that becomes settings of ours. `ours`: which, for people."""

    ours: str
    read: Reading


@dataclass(frozen=True)
class Idle:
    """A variable that has no effect. `instead`: what to use. `same`: values that ask for what is so anyway, of which
    nobody need be told."""

    instead: str
    same: tuple[str, ...] = ()


def is_on(text: str) -> bool:
    return text.strip().lower() in _ON


def to(setting: str) -> Taken:
    """The same value for one setting of ours."""
    return Taken(f"`--{setting}`", lambda text, _: {setting: text})


def model(text: str, _: Environment) -> Mapping[str, str]:
    """NIM writes a revision behind a colon, and a directory as a URL."""
    if text.startswith("hf://"):
        name, colon, revision = text.partition("?")[0].removeprefix("hf://").partition(":")
        return {"model": f"hf://{name}@{revision}" if colon else f"hf://{name}"}
    return {"model": text.removeprefix("local://")}


def profile(text: str, _: Environment) -> Mapping[str, str]:
    """A profile of ours, or what the name of one of NIM's says."""
    if text == "default":
        return {}
    if _PROFILE_ID.fullmatch(text):
        raise NotHonouredError("NIM's own profile; `stoker list-model-profiles` shows those of Stoker")
    said = _PROFILE.fullmatch(text)
    return {"profile": text} if said is None else _tags(said.groupdict(default=""))


def tags(text: str, _: Environment) -> Mapping[str, str]:
    """`precision=fp8,tp=2`; tags that choose among NIM's own files are passed over."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    return _tags({name.strip(): value.strip() for name, _, value in pairs})


def _tags(said: Mapping[str, str]) -> dict[str, str]:
    meant = {_BY_TAG[name]: value for name, value in said.items() if name in _BY_TAG and value}
    return meant | ({"precision": our_precision(meant["precision"])} if "precision" in meant else {})


def precision(text: str, _: Environment) -> Mapping[str, str]:
    return {"precision": our_precision(text)}


def our_precision(text: str) -> str:
    return _PRECISIONS.get(text.lower(), text.lower())


def log_level(text: str, _: Environment) -> Mapping[str, str]:
    level = _LEVELS.get(text.lower(), text.lower())
    return {"log-level": level} if level else {}


def json_lines(text: str, _: Environment) -> Mapping[str, str]:
    return {"log-format": "json"} if is_on(text) else {}


def offline(text: str, _: Environment) -> Mapping[str, str]:
    return {"offline": "true"} if is_on(text) else {}


def tool_parser(text: str, _: Environment) -> Mapping[str, str]:
    if text not in _TOOL_PARSERS:
        raise NotHonouredError("the parser follows the model's chat template; --tool-parser names another")
    return {"tool-parser": _TOOL_PARSERS[text]}


def draft(text: str, environ: Environment) -> Mapping[str, str]:
    if not is_on(environ.get("NIM_SPECDEC_ENABLE", "1")):
        return {}
    return {"speculative": f"draft={model(text, environ)['model']}"}


def speculation(text: str, environ: Environment) -> Mapping[str, str]:
    if is_on(text) and "NIM_DRAFT_MODEL_PATH" in environ:
        return {}  # which says how
    return {"speculative": "auto" if is_on(text) else "off"}


def traces(text: str, environ: Environment) -> Mapping[str, str]:
    if "NIM_ENABLE_OTEL" not in environ:
        raise NotHonouredError("set NIM_ENABLE_OTEL=1 too, or give --otlp-endpoint")
    return {"otlp-endpoint": text} if is_on(environ["NIM_ENABLE_OTEL"]) else {}


def traced(text: str, environ: Environment) -> Mapping[str, str]:
    if is_on(text) and "NIM_OTEL_EXPORTER_OTLP_ENDPOINT" not in environ:
        raise NotHonouredError("set NIM_OTEL_EXPORTER_OTLP_ENDPOINT too, or give --otlp-endpoint")
    return {}


def tls_file(setting: str, *modes: str) -> Taken:
    """A file that NIM_SSL_MODE gives a use."""

    def read(text: str, environ: Environment) -> Mapping[str, str]:
        if "NIM_SSL_MODE" not in environ:
            raise NotHonouredError(f"set NIM_SSL_MODE={modes[0]} too, or give --{setting}")
        return {setting: text} if environ["NIM_SSL_MODE"].upper() in modes else {}

    return Taken(f"`--{setting}`, where NIM_SSL_MODE is {' or '.join(modes)}", read)


def tls_mode(text: str, environ: Environment) -> Mapping[str, str]:
    """UsageError where a file is missing: the API would be served without TLS."""
    mode = text.upper()
    if mode not in _TLS_FILES:
        raise UsageError(f"NIM_SSL_MODE={text}", why="not one of DISABLED, TLS, MTLS")
    missing = [names[0] for names in _TLS_FILES[mode] if not any(name in environ for name in names)]
    if missing:
        raise UsageError(
            f"NIM_SSL_MODE={mode} needs {' and '.join(missing)}",
            remedy="set them, or leave NIM_SSL_MODE out and give --tls-cert, --tls-key and --tls-client-ca",
        )
    return {}
