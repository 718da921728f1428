"""What the image is made of."""

from __future__ import annotations

import json

from tests.containers.engine import ENGINE, inspect_image, layer_bytes, run

MOST_BYTES = 900e6
CONFIG = inspect_image()["Config"] if ENGINE else {}


def in_image(script: str) -> str:
    return run("-c", script, flags=("--entrypoint=/bin/sh",)).stdout


def test_the_configuration_is_the_promised_one() -> None:
    assert CONFIG["Entrypoint"] == ["stoker"]
    assert CONFIG["User"] == "1000:0"
    assert set(CONFIG["Volumes"]) == {"/cache", "/tmp"}
    assert set(CONFIG["ExposedPorts"]) == {"8000/tcp"}
    assert CONFIG["StopSignal"] in ("SIGTERM", "15")
    labels = CONFIG["Labels"]
    for name in ("title", "description", "licenses", "version", "revision", "base.name"):
        assert labels[f"org.opencontainers.image.{name}"]


def test_nothing_of_the_build_machine_is_kept() -> None:
    assert not [line for line in CONFIG["Env"] if line.startswith(("PIP_", "SSL_", "http"))]
    assert in_image("cat /etc/pip.conf; ls /run/secrets /opt/tools /src") == ""


def test_our_layers_stay_under_900_mb() -> None:
    sizes = layer_bytes()
    assert 0 < sum(sizes[:-1]) < MOST_BYTES  # the oldest is the base


def test_no_compiler_installer_or_package_cache_is_inside() -> None:
    assert in_image("command -v gcc cc c++ make pip pip3 git curl") == ""
    assert in_image("find /var/lib/apt/lists /var/cache/apt /root/.cache -type f 2>/dev/null") == ""


def test_the_bill_of_materials_lists_what_is_installed() -> None:
    path = CONFIG["Labels"]["io.stoker.sbom.path"]
    document = json.loads(in_image(f"cat {path}"))
    assert document["bomFormat"] == CONFIG["Labels"]["io.stoker.sbom.format"]
    listed = {(component["name"].lower(), component["version"]) for component in document["components"]}
    script = "import importlib.metadata as m; [print(d.name.lower(), d.version) for d in m.distributions()]"
    installed = {tuple(line.split()) for line in in_image(f'/opt/stoker/bin/python -c "{script}"').splitlines()}
    assert {name for name, _ in installed} >= {"stoker", "openvino", "nvidia-pytriton"}
    assert installed <= listed
