"""Names with tags: what is served as `demo` is `demo:latest` here."""

from __future__ import annotations

from stoker.serve.operate.frontend import Frontend
from stoker.serve.request.preparation import check_model

_TAG = ":latest"


def served_name(name: str, frontend: Frontend) -> str:
    """The name as it is served. ApiError, 404, for another model, or for another tag: that is another model."""
    plain = name.removesuffix(_TAG)
    if name not in frontend.names and plain in frontend.names:
        return plain
    check_model(name, frontend)
    return name


def tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else name + _TAG
