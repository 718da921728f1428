"""What real clients asked, replayed: tests/clients records it (STOKER_RECORD=1 make test-clients).

claude_code.json and codex.json are of whole turns with calls of tools and their results, images among them. aider.json
was recorded by hand: aider 0.86 pins versions that the other clients do not take.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stoker.serve.operate.frontend import Frontend
from stoker.serve.operate.service import Service

if TYPE_CHECKING:
    from tests.unit.serve.conftest import Ask
    from tests.unit.serve.scripted import ScriptedEngine


RECORDED = Path(__file__).with_name("recorded")
FILES = sorted(RECORDED.glob("*.json"))


@pytest.fixture
def roomy(service: Service, frontend: Frontend, engine: ScriptedEngine) -> None:
    """A model with room for an agent's prompt."""
    service.lifecycle.attach(engine, replace(frontend, context=replace(frontend.context, length=1 << 17)))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_clients_requests_are_answered_as_they_were(ask: Ask, roomy: None, file: Path) -> None:
    for asked in json.loads(file.read_text()):
        answer = ask(asked["path"], asked["body"], method=asked["method"], headers=asked["headers"])
        assert answer.status == asked["status"], f"{asked['path']}: {answer.text}"


def test_agents_send_results_of_tools_and_are_refused_pictures_alone() -> None:
    for agent in ("claude_code", "codex"):
        told = json.loads((RECORDED / f"{agent}.json").read_text())
        assert [each["status"] for each in told] == [200, 400], agent
        refused, taken = json.dumps(told[1]["body"]), json.dumps(told[0]["body"])
        assert "image" in refused.replace("view_image", "")
        assert "from-the-shell" in taken, agent
