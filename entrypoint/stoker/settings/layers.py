"""Flags over environment over NIM's variables over file over defaults, each value with its origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stoker.errors import UsageError
from stoker.nearest import nearest
from stoker.origin import Origin, Sourced
from stoker.settings import environment
from stoker.settings.file import read_file
from stoker.settings.nim import NimLayer, nim_layer
from stoker.settings.setting import Setting, Value
from stoker.settings.spec import BY_NAME, SETTINGS, canonical, default_of
from stoker.settings.value import parse_value


@dataclass(frozen=True)
class Settings:
    """Every setting by name. `warnings` are lines for the user about variables that were ignored."""

    values: Mapping[str, Sourced[Any]]
    warnings: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Sourced[Any]:
        """By either spelling: `max-seq-len` or `max_seq_len`."""
        return self.values[canonical(name)]

    def is_given(self, name: str) -> bool:
        """Whether the user set it, rather than the default."""
        return self[name].origin is not Origin.DEFAULT

    def but(self, name: str, value: Value, why: str) -> Settings:
        """With a value that a command sets by itself."""
        return replace(self, values={**self.values, canonical(name): Sourced(value, Origin.FLAG, why)})

    @property
    def model(self) -> str | None:
        return self._text_or_none("model")

    @property
    def host(self) -> str:
        return str(self["host"].value)

    @property
    def port(self) -> int:
        return int(self["port"].value)

    @property
    def cache(self) -> Path:
        """Absolute: engines are opened by processes that work in other directories."""
        return Path(self["cache"].value).absolute()

    @property
    def served_model_names(self) -> tuple[str, ...]:
        """Those that were given, the first being the model's own name in the API; none for the model's own."""
        given = (self._text_or_none("served-model-name") or "").split(",")
        return tuple(dict.fromkeys(name.strip() for name in given if name.strip()))

    @property
    def calibration(self) -> Path | None:
        value: Path | None = self["calibration"].value
        return value

    @property
    def drain_timeout(self) -> float:
        """Seconds."""
        return float(self["drain-timeout"].value)

    @property
    def engine_timeout(self) -> float:
        """Seconds."""
        return float(self["engine-timeout"].value)

    @property
    def restart_limit(self) -> int:
        return int(self["restart-limit"].value)

    @property
    def log_format(self) -> str:
        return str(self["log-format"].value)

    @property
    def log_level(self) -> str:
        return str(self["log-level"].value)

    @property
    def offline(self) -> bool:
        return bool(self["offline"].value)

    def _text_or_none(self, name: str) -> str | None:
        value: str | None = self[name].value
        return value


def load_settings(flags: Mapping[str, str | None], environ: Mapping[str, str], file: Path | None = None) -> Settings:
    """The settings in force.

    `flags` maps names to the text that was given, None for those that were not. `file` is the YAML file; without it,
    the flag `config` or STOKER_CONFIG may name one. Every value is checked, also one that another layer overrides.
    UsageError names the source of a bad value.
    """
    values: dict[str, Sourced[Any]] = {
        setting.name: Sourced(default_of(setting, environ), Origin.DEFAULT, "default") for setting in SETTINGS
    }
    given = dict(_from_environment(environ)) | dict(_from_flags(flags))
    path = file or (Path(str(given["config"].value)) if "config" in given else None)
    values |= dict(_from_file(path)) if path else {}
    nim = nim_layer(environ)
    warnings = (*environment.warnings(environ), *([nim.warning] if nim.warning else []))
    return Settings(MappingProxyType(values | dict(_from_nim(nim)) | given), warnings)


def _from_flags(flags: Mapping[str, str | None]) -> Iterator[tuple[str, Sourced[Value]]]:
    for name, text in flags.items():
        if text is not None:
            setting = _setting(name)
            if not text.strip():
                raise UsageError(f"{setting.flag} needs a value")
            yield setting.name, Sourced(parse_value(setting, text, setting.flag), Origin.FLAG, setting.flag)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Sourced[Value]]]:
    for name, one in environment.given(environ).items():
        yield name, Sourced(parse_value(BY_NAME[name], one.text, one.variable), Origin.ENVIRONMENT, one.variable)


def _from_nim(layer: NimLayer) -> Iterator[tuple[str, Sourced[Value]]]:
    for name, given in layer.given.items():
        value = parse_value(BY_NAME[name], given.text, given.variable)
        yield name, Sourced(value, Origin.NIM, given.variable)


def _from_file(path: Path) -> Iterator[tuple[str, Sourced[Value]]]:
    for entry in read_file(path):
        value = parse_value(entry.setting, entry.text, entry.where)
        yield entry.setting.name, Sourced(value, Origin.FILE, entry.detail)


def _setting(name: str) -> Setting:
    setting = BY_NAME.get(canonical(name))
    if setting is None:
        guess = nearest(canonical(name), BY_NAME)
        raise UsageError(f"unknown setting --{name}", remedy=f"did you mean --{guess}?" if guess else "")
    return setting
