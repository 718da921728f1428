"""OpenVINO and NNCF report their use to their makers unless they are told not to. Nothing that Stoker runs reports."""

from __future__ import annotations

import sys

_REPORTER = "openvino_telemetry"


def refuse_telemetry() -> None:
    """To be called before OpenVINO is imported: both do without the reporting package where it cannot be imported."""
    sys.modules.setdefault(_REPORTER, None)  # type: ignore[arg-type]  # None: "import fails" (Python's import system)
