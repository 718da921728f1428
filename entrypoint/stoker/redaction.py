"""Passwords and tokens out of what is shown: logs, errors, the status."""

from __future__ import annotations

import re

HIDDEN = "***"
_USER_INFO = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s'\"]*@")
_PARAMETER = re.compile(
    r"(?P<name>[?&;][^=&\s'\"]*(?:sig|token|key|secret|passw|credential|auth)[^=&\s'\"]*=)[^&#\s'\"]+", re.IGNORECASE
)


def redacted(text: object) -> str:
    """`text` without the user part of its URLs, nor the values of query parameters that give access (`?sig=...`)."""
    hidden = _USER_INFO.sub(rf"\g<scheme>{HIDDEN}@", str(text))
    return _PARAMETER.sub(rf"\g<name>{HIDDEN}", hidden)
