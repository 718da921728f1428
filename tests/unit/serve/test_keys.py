"""Who may use the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker.errors import UsageError
from stoker.serve.http import watched
from stoker.serve.http.keys import Keys
from stoker.serve.operate.service import Exposure, Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask


PLAIN: dict[str, Any] = {"model": "demo", "prompt": "Once", "max_tokens": 2}


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "CHECK_SECONDS", 0.0)


def replace(file: Path, text: str) -> None:
    """As Kubernetes does it: another file in its place."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer second"}, 200),
        ({"authorization": "bearer first"}, 200),
        ({"x-api-key": "first"}, 200),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Bearer firs"}, 401),
        ({"authorization": "Bearer first,second"}, 401),
        ({"authorization": "Basic first"}, 401),
        ({"x-api-key": ""}, 401),
    ],
)
def test_only_a_known_key_opens(ask: Ask, service: Service, headers: dict[str, str], status: int) -> None:
    service.exposure = Exposure(keys=Keys("first, second"))
    answer = ask("/v1/completions", PLAIN, headers=headers)
    assert answer.status == status
    if status == 401:
        assert (answer.error["code"], answer.headers["www-authenticate"]) == ("invalid_api_key", "Bearer")
        assert "first" not in answer.text


def test_probes_and_the_page_need_no_key_and_everything_else_does(ask: Ask, service: Service) -> None:
    service.exposure = Exposure(keys=Keys("first"))
    for path in ("/", "/docs", "/page/main.js", "/v1/health/live", "/v1/health/ready", "/v1/health/startup"):
        assert ask(path).status == 200, path
    for path in (
        "/metrics",
        "/v1/models",
        "/v1/models/demo",
        "/v1/plan",
        "/openapi.json",
        "/nothing",
        "/page",
    ):
        assert ask(path).status == 401, path


def test_a_file_of_keys_is_read_again_when_it_changes_and_kept_while_it_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# who may\n\nteam-a alpha  # since May\nbeta\n")
    keys = Keys("given", file)
    assert keys.name_of(b"alpha") == "team-a"
    assert str(keys.name_of(b"beta")).startswith("key-")
    replace(file, "team-b gamma\n")
    assert (keys.name_of(b"gamma"), keys.name_of(b"alpha")) == ("team-b", None)
    replace(file, "# none\n")
    assert keys.name_of(b"gamma") == "team-b"
    file.unlink()
    assert keys.name_of(b"gamma") == "team-b"
    replace(file, "delta\n")
    assert keys.name_of(b"gamma") is None
    assert keys.name_of(b"delta")
    assert keys.name_of(b"given")


@pytest.mark.parametrize("content", [None, b"", b"# nothing\n", b"\xff\xfe"])
def test_a_file_without_keys_is_refused_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match="keys"):
        Keys("", file)


def test_no_keys_let_everybody_in(ask: Ask, service: Service) -> None:
    service.exposure = Exposure(keys=Keys(" , "))
    assert ask("/v1/completions", PLAIN).status == 200
