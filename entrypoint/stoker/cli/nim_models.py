"""What NVIDIA NIM's commands share: settings with a model by its URIs, or with a profile."""

from __future__ import annotations

from stoker.settings.layers import Settings
from stoker.settings.nim_reading import model as model_of


def with_model(settings: Settings, uri: str | None, flag: str) -> Settings:
    """With the model of `uri`, if one was given, in NIM's or our form."""
    return settings if uri is None else settings.but("model", model_of(uri, {})["model"], flag)


def with_profile(settings: Settings, profile: str) -> Settings:
    return settings.but("profile", profile, "--profile")
