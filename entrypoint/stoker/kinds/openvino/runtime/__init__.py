"""The runtimes of the `openvino` engine kind. Run inside Triton's Python stub, never in the API process."""

from stoker.kinds.openvino.telemetry import refuse_telemetry

refuse_telemetry()
