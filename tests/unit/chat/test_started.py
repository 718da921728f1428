"""The server that a chat starts for itself."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from stoker.progress import Silent
from stoker.servers import started
from stoker.settings.spec import BY_NAME


class EnoughError(Exception):
    """The command line and its environment are known."""


@pytest.mark.parametrize("name", ["tls-cert", "tls-key", "tls-client-ca", "management-port"])
def test_what_is_set_for_the_servers_of_others_is_not_for_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    asked: dict[str, Any] = {}

    def start(command: list[str], **given: Any) -> NoReturn:
        asked.update(given["env"])
        raise EnoughError

    variable = BY_NAME[name].variable
    monkeypatch.setenv(variable, "8443")
    monkeypatch.setenv("STOKER_CACHE", "/somewhere")
    monkeypatch.setattr(started.subprocess, "Popen", start)
    with pytest.raises(EnoughError), started.started_server(["demo"], Silent()):
        pass
    assert variable not in asked
    assert asked["STOKER_CACHE"] == "/somewhere"
