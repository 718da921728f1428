"""What NVIDIA NIM's commands share: settings with a model by its URIs, or with a profile."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from stoker.origin import Origin, Sourced
from stoker.settings.layers import Settings
from stoker.settings.nim_reading import model as model_of


def with_model(settings: Settings, uri: str | None, flag: str) -> Settings:
    """With the model of `uri`, if one was given, in NIM's or our form."""
    return settings if uri is None else _with(settings, "model", model_of(uri, {})["model"], flag)


def with_profile(settings: Settings, profile: str) -> Settings:
    return _with(settings, "profile", profile, "--profile")


def _with(settings: Settings, name: str, value: Any, flag: str) -> Settings:
    values = {**settings.values, name: Sourced(value, Origin.FLAG, flag)}
    return replace(settings, values=MappingProxyType(values))
