"""Settings: flags, environment, a YAML file and defaults, each value with where it came from."""

from stoker.origin import Origin, Sourced
from stoker.settings.layers import Settings, load_settings
from stoker.settings.setting import Setting
from stoker.settings.spec import SETTINGS

__all__ = ["SETTINGS", "Origin", "Setting", "Settings", "Sourced", "load_settings"]
