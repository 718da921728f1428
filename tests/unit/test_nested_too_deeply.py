"""Documents nested so deeply that a parser gives up: each is refused like any other damage, and never ends in a
traceback. Python's parsers raise a RecursionError there, which is no ValueError."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from stoker.build.calibration import read_text
from stoker.chat.conversation import load
from stoker.errors import UsageError
from stoker.plan.located import parse
from stoker.probe.description_file import read_description
from stoker.resolve.digests import DigestCache
from stoker.serve.http.errors import ApiError
from stoker.serve.operate import adapter_endpoints
from stoker.serve.request.chat_template import read_json
from stoker.servers.endpoint import _object
from stoker.settings.file import read_file
from stoker.store.signature import check_keys
from stoker.store.timings import Timing, Timings
from stoker.store.tuned import TunedStore
from stoker.store.warmed import Warmed

DEEP_JSON = "[" * 200_000
DEEP_YAML = "a: " + "[" * 5_000


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("settings.yaml", DEEP_YAML, read_file),
        ("machine.yaml", DEEP_YAML, read_description),
        ("profiles.yaml", DEEP_YAML, lambda path: parse(path.read_text(), str(path))),
        ("profiles.yaml", "a: " + "[" * 1500 + "]" * 1500, lambda path: parse(path.read_text(), str(path))),
        ("chat.json", DEEP_JSON, load),
        ("calibration.jsonl", DEEP_JSON, read_text),
    ],
)
def test_what_somebody_gave_is_refused(name: str, text: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    path = written(tmp_path / name, text)
    with pytest.raises(UsageError) as refusal:
        read(path)
    assert name in str(refusal.value)


def test_so_is_a_key(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    body = base64.b64encode(DEEP_JSON.encode()).decode()
    label = "ENCRYPTED SIGSTORE PRIVATE KEY"
    with pytest.raises(UsageError, match=r"cosign\.key cannot be used"):
        check_keys(None, written(tmp_path / "cosign.key", f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"))


def test_so_is_a_request_for_an_adapter() -> None:
    with pytest.raises(ApiError, match="not what this endpoint takes"):
        adapter_endpoints._read(b'{"other": ' + DEEP_JSON.encode(), adapter_endpoints.LoadRequest)


def test_what_is_kept_for_later_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    for name in ("timings.json", "tuned/key.json", "warmed.json", "digests.json", "tokenizer_config.json"):
        written(tmp_path / name, DEEP_JSON)
    assert Timings(tmp_path).expected(Timing("loading", "openvino", "int8", 1, 0.0)) is None
    assert TunedStore(tmp_path).read("key") is None
    assert "key" not in Warmed(tmp_path)
    assert DigestCache(tmp_path / "digests.json")._known == {}
    assert read_json(tmp_path / "tokenizer_config.json") == {}
    assert _object(DEEP_JSON.encode()) == {}
