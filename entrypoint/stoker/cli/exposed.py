"""Whether a server is open to others without their having a key."""

from __future__ import annotations

import ipaddress

from stoker.origin import Origin
from stoker.settings.layers import Settings

_IN_IMAGES = "::"  # STOKER_HOST there, where what is published decides who reaches it


def exposure_warning(settings: Settings) -> str:
    """Empty where only this machine can reach the API, where keys are asked for, and in the images."""
    host = settings.host
    in_image = settings["host"].origin is Origin.ENVIRONMENT and host == _IN_IMAGES
    keyed = settings["api-key"].value or settings["api-key-file"].value or settings["tls-client-ca"].value
    if in_image or keyed or _is_loopback(host):
        return ""
    return (
        f"the API listens on {host} and asks for no key: whoever can reach this machine can use it; "
        "set STOKER_API_KEY or --api-key-file, or listen on 127.0.0.1"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "ip6-localhost")
