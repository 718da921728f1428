"""The `format`s of strings in JSON schemas, as regular expressions; each is no wider than its standard."""

from __future__ import annotations

_DATE = r"\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_LABEL = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_HEX = r"[0-9a-f]"

FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": r"P(?:\d{1,4}W|\d{1,4}D(?:T\d{1,4}H)?|T(?:\d{1,4}H)?\d{1,4}M(?:\d{1,4}S)?)",
    "email": rf"[a-zA-Z0-9_]+(?:[.+-][a-zA-Z0-9_]+)*@{_LABEL}(?:\.{_LABEL})*\.[a-z][a-z]+",
    "hostname": rf"{_LABEL}(?:\.{_LABEL})*",
    "ipv4": rf"{_OCTET}(?:\.{_OCTET}){{3}}",
    "ipv6": rf"{_HEX}{{1,4}}(?::{_HEX}{{1,4}}){{7}}",
    "uuid": rf"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}",
    "uri": rf"https?://{_LABEL}(?:\.{_LABEL})+(?:/[A-Za-z0-9_.~-]*)*",
}
