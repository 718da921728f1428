"""Whether the hub answers, and whether it knows the token: what `stoker doctor` says of both."""

from __future__ import annotations

import time
from collections.abc import Iterator

from stoker.probe.checks.check import Check
from stoker.resolve.hub import offline_by_environment

_PATIENCE_SECONDS = 5.0
_WITHOUT = (
    "models in the cache and in directories can be served; for others set HF_ENDPOINT to a mirror, or HTTPS_PROXY"
)


def check_hub(*, offline: bool) -> Iterator[Check]:
    """Nothing is asked of the hub where it must not be."""
    if offline or offline_by_environment():
        yield Check("model hub", "ok", "not tested: offline mode")
        return
    from huggingface_hub import get_session, get_token

    from stoker.resolve.hub_client import hub_endpoint

    endpoint, token = hub_endpoint(), get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = f"{endpoint}/api/whoami-v2" if token else f"{endpoint}/api/models?limit=1"
    began = time.monotonic()
    try:
        answer = get_session().get(address, headers=headers, timeout=_PATIENCE_SECONDS)
    except Exception as error:  # of whichever HTTP library huggingface_hub uses
        yield Check("model hub", "warning", f"{endpoint} does not answer: {str(error)[:200]}", _WITHOUT)
        return
    seconds = time.monotonic() - began
    yield from _told(endpoint, answer.status_code, seconds, has_token=bool(token))


def _told(endpoint: str, status: int, seconds: float, *, has_token: bool) -> Iterator[Check]:
    if status >= 500 or (status >= 400 and not has_token):
        yield Check("model hub", "warning", f"{endpoint} answers with status {status}", _WITHOUT)
        return
    yield Check("model hub", "ok", f"{endpoint} answers in {seconds:.1f} s")
    if not has_token:
        yield Check("hub token", "ok", "none; public models only. HF_TOKEN gives access to others")
    elif status in (401, 403):
        yield Check("hub token", "warning", "the hub does not accept it", "set HF_TOKEN to a valid one, or unset it")
    elif status == 200:
        yield Check("hub token", "ok", "valid")
    else:
        yield Check("hub token", "ok", f"not tested: this hub has no accounts (status {status})")
