"""The builder of the `openvino` engine kind. Runs in a build's worker process."""

from stoker.kinds.openvino.telemetry import refuse_telemetry

refuse_telemetry()
