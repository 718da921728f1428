"""The Triton model: takes requests over from Triton and hands them to the engine loop."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.attributes import attribute
from stoker.json_text import parse_json
from stoker.launch.frames import FrameWriter
from stoker.launch.generation import RequestRefusedError
from stoker.launch.settings import STUB_PID_FILE, EngineSettings
from stoker.launch.stub import parent
from stoker.launch.stub.gauges import Gauges, Pulse
from stoker.launch.stub.loop import EngineLoop, Load
from stoker.launch.stub.runtime import Driver, opened
from stoker.launch.stub.wire import FINAL, Sender, address_of, error_response, frame_response, is_stop, read_generation

if TYPE_CHECKING:
    import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        parent.die_with(os.getppid())
        settings = EngineSettings.read(_settings_file(args))
        run_directory = Path(settings.run_directory)
        (run_directory / STUB_PID_FILE).write_text(str(os.getpid()))
        self._loop = _driver(settings, Gauges(settings).observe, Pulse(run_directory).beat)
        self._loop.start()

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            address = address_of(request)
            if address is None:
                self._execute_alone(request, sender)
            elif address[1] is None:
                sender.send(frame_response(FrameWriter().pack()))  # it is open, for who waits to send requests
                self._loop.open_channel(address[0], sender)
            else:
                sender.send(flags=FINAL)  # what it gives goes into the channel
                self._execute_in(address[0], address[1], request)

    def _execute_alone(self, request: pb_utils.InferenceRequest, sender: Sender) -> None:
        if is_stop(request):
            self._loop.stop_request(request.request_id())
            sender.send(flags=FINAL)
            return
        try:
            self._loop.submit(read_generation(request), sender)
        except RequestRefusedError as error:
            sender.send(error_response(str(error), refused=True), flags=FINAL)

    def _execute_in(self, channel: int, handle: int, request: pb_utils.InferenceRequest) -> None:
        if is_stop(request):
            self._loop.stop_request((channel, handle))
            return
        try:
            self._loop.submit_to(channel, handle, read_generation(request))
        except RequestRefusedError as error:
            self._loop.refuse_in(channel, handle, str(error))

    def finalize(self) -> None:
        self._loop.stop()


def _driver(settings: EngineSettings, observe: Callable[[Load], None], beat: Callable[[], None]) -> Driver:
    runtime: Any = attribute(settings.runtime)
    if getattr(runtime, "drives", False):
        driver: Driver = runtime(settings, observe, beat)
        return driver
    return EngineLoop(lambda: opened(settings), settings.chosen.max_batch_size, observe, beat)


def _settings_file(args: dict[str, str]) -> Path:
    return Path(parse_json(args["model_config"])["parameters"]["settings"]["string_value"])
