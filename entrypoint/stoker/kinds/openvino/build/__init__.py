"""The builder of the `openvino` engine kind. Runs in a build's worker process."""

from stoker.telemetry import refuse_telemetry

refuse_telemetry()
