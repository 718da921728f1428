"""Which engine kind a deployment takes: that of the image for everybody, others where they are asked for."""

from __future__ import annotations

import pytest
import yaml

from stoker import cli
from stoker.kinds import kinds, kinds_on_request

COMPILED = next(name for name, kind in kinds().items() if kind.deploy.on_request)


def image(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["manifest", "compose", "demo", *arguments]) == 0
    return yaml.safe_load(capsys.readouterr().out)["services"]["stoker"]["image"]


@pytest.mark.parametrize("machine", ["1xH100-80GB", "1xL40S", "2xT4", "8xB200"])
def test_nvidia_gpus_get_the_image_that_needs_no_account(machine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert image(capsys, "--machine", machine) == "stoker:vllm"


def test_the_cpu_gets_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert image(capsys, "--machine", "cpu:4c-8g") == "stoker:cpu"


def test_a_kind_that_is_asked_for_brings_its_image(capsys: pytest.CaptureFixture[str]) -> None:
    assert image(capsys, "--machine", "1xH100-80GB", "--engine", COMPILED) == "stoker:nvidia"


def test_where_only_a_kind_on_request_would_use_the_gpu_it_is_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = frozenset(name for name in kinds() if name != "openvino") - {COMPILED}
    monkeypatch.setattr("stoker.cli.manifest.kinds_on_request", lambda: others | {COMPILED})
    assert image(capsys, "--machine", "1xH100-80GB") == "stoker:nvidia"


def test_kinds_on_request_share_no_image_with_the_others() -> None:
    """Else the image would be there, and its faster kind would not be used."""
    asked = {tag for name in kinds_on_request() for tag in kinds()[name].deploy.images.values()}
    others = {tag for name in kinds().keys() - kinds_on_request() for tag in kinds()[name].deploy.images.values()}
    assert not asked & others
