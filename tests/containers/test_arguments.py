"""The image's arguments are the command's."""

from __future__ import annotations

import json

from tests.containers.engine import complete, inspect_image, run


def test_plan_build_doctor_and_version(filled: str) -> None:
    cache = (f"--volume={filled}:/cache",)
    plan = run("plan", "demo", "--json", flags=cache)
    assert json.loads(plan.stdout)["chosen"]["engine"] == "openvino"
    assert "found the engine" in run("build", "demo", flags=cache).stderr
    labels = inspect_image()["Config"]["Labels"]
    assert run("--version").stdout == f"stoker {labels['org.opencontainers.image.version']}\n"
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json", flags=cache).stdout)}
    for name in ("Python", "libpython", "C library", "Triton", "OpenVINO", "cache", "disk"):
        assert checks[name]["status"] == "ok", checks[name]


def test_a_model_with_flags_is_served_under_them(start, filled: str) -> None:
    flags = (f"--volume={filled}:/cache",)
    container = start("demo", "--served-model-name", "mine", "--max-batch-size", "2", flags=flags).wait_ready()
    answer = container.exec(
        "python3", "-c", f"import urllib.request as u; print(u.urlopen('{container.url}/v1/models').read())"
    )
    assert '"id":"mine"' in answer.stdout


def test_without_arguments_the_model_of_the_environment_is_served(start, filled: str) -> None:
    container = start(flags=(f"--volume={filled}:/cache", "--env=STOKER_MODEL=demo")).wait_ready()
    assert complete(container.url)


def test_nims_commands_are_in_the_image_by_their_bare_names(volume: str) -> None:
    """As the NIM Operator's jobs run them: as the container's command, by any user of group 0."""
    flags = ("--user=54321:0", f"--volume={volume}:/cache", "--env=NIM_CACHE_PATH=/cache")
    manifest = ("--manifest-file", "/cache/model_manifest.json")
    filled = run("--model-uri", "demo", *manifest, flags=(*flags, "--entrypoint=download-to-cache"))
    assert filled.returncode == 0, filled.stderr
    listed = run("-m", "/cache/model_manifest.json", "--json", flags=(*flags, "--entrypoint=list-model-profiles"))
    assert any(each.get("selected") for each in json.loads(listed.stdout)["profiles"])
    store = ("--model-repo", "demo", "--model-store", "/cache/demo")
    assert run(*store, flags=(*flags, "--entrypoint=create-model-store")).returncode == 0
    plan = run("plan", "--json", flags=(*flags, "--env=NIM_MODEL_NAME=/cache/demo"))
    assert json.loads(plan.stdout)["model"]["reference"] == "/cache/demo"


def test_mistakes_end_as_the_command_ends() -> None:
    assert run("demo", "--no-such-flag").returncode == 64
    missing = run("/no/such/model")
    assert missing.returncode == 66
    assert "Traceback" not in missing.stderr
