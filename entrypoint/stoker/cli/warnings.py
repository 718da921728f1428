"""What the settings were loaded with but could not use."""

from __future__ import annotations

import logging

from stoker.settings.layers import Settings

_LOG = logging.getLogger("stoker")


def show_warnings(settings: Settings) -> None:
    for warning in settings.warnings:
        _LOG.warning("%s", warning)
