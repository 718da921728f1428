"""A model hub that is malformed, slow or without end: an error that says so, and nothing of it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.loading import load

from stoker.deadline import within
from stoker.errors import DamagedModelError, StokerError
from stoker.progress import Silent
from stoker.resolve.resolve import resolve

HERE = Path(__file__).parent
SERVERS = load("hostile_server", HERE / "hostile_server.py")
REMOTES = load("hostile_remotes", HERE / "test_hostile_remotes.py")
memory, hostile = REMOTES.memory, REMOTES.hostile
COMMIT = "a" * 40
LONGEST = 120.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker.resolve.hub_client._ANSWER_SECONDS", 3.0)
    monkeypatch.setattr("stoker.resolve.download.PAUSES", (0, 0))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def refusal(cache: Path) -> StokerError:
    with pytest.raises(StokerError) as refused:
        within(LONGEST, lambda: resolve("org/x", cache, Silent()))
    assert "should not" not in str(refused.value)
    return refused.value


@pytest.mark.parametrize("way", [*SERVERS.WAYS, *SERVERS.DOCUMENTS], ids=lambda way: way.__name__)
def test_whatever_a_hub_answers_is_an_error_of_ours(way, hostile, memory, tmp_path: Path) -> None:
    hostile(way, "hf")
    refusal(tmp_path)


def listing(**entry: Any) -> dict[str, Any]:
    """Of one file, which these fields describe."""
    return {"sha": COMMIT, "siblings": [{"rfilename": "config.json", "blobId": "0" * 40, "size": 1, **entry}]}


FIELDS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("size", (-1, "7", 1.5, True, 10**30, [])),
    ("rfilename", (7, "", "..", "a\0b", None)),
    ("lfs", (7, "x", {"sha256": 7})),
    ("blobId", ("../../x", 7, "x" * 1000)),
)
COMMITS: tuple[Any, ...] = (None, 7, [], "x", "A" * 40)
SIBLINGS: tuple[Any, ...] = (7, "x", [7], [{}], {"a": 1})
LISTINGS: tuple[dict[str, Any], ...] = (
    *({"sha": sha, "siblings": []} for sha in COMMITS),
    *({"sha": COMMIT, "siblings": siblings} for siblings in SIBLINGS),
    *(listing(**{name: value}) for name, values in FIELDS for value in values),
)


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: json.dumps(listing)[50:120])
def test_a_listing_that_makes_no_sense(listing, hostile, tmp_path: Path) -> None:
    hostile(SERVERS.document(json.dumps({"id": "org/x", **listing}).encode()), "hf")
    refusal(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and ".locks" not in path.parts] == []


def test_more_than_was_promised_is_not_stored(hostile, memory, tmp_path: Path) -> None:
    size = 1000
    entries = [{"rfilename": "config.json", "size": size, "blobId": "0" * 40}]
    listing = json.dumps({"id": "org/x", "sha": COMMIT, "siblings": entries}).encode()

    def answer(request: bytes) -> Iterator[bytes]:
        if b" /api/" in request.split(b"\r\n")[0]:
            return iter(SERVERS.document(listing)(request))
        return iter(SERVERS.endless_body(request))

    hostile(answer, "hf")
    error = refusal(tmp_path)
    assert isinstance(error, DamagedModelError)
    assert "more than the 1,000 bytes that it promised" in str(error)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 10_000
