"""What `stoker doctor` looks at for this kind."""

from __future__ import annotations

from collections.abc import Iterator

from stoker.installing import with_extra
from stoker.probe.checks.check import Check
from stoker.probe.checks.software import check_package
from stoker.probe.machine import Machine


def checks(_: Machine) -> Iterator[Check]:
    yield check_package("OpenVINO", "openvino-genai", with_extra("cpu"))
