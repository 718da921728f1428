"""The engine's process: reads requests from its standard input, runs the runtime that the settings name, writes tokens.

    python -m stoker.direct.child SETTINGS_FILE

Whatever the engine prints goes to standard error: standard output carries messages alone. Works with any runtime of
EngineSettings, so that a new engine kind needs nothing here.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO

from stoker.direct.messages import error_fields, generation_of, line
from stoker.json_text import parse_json
from stoker.launch.generation import Generation, RequestRefusedError
from stoker.launch.settings import EngineSettings
from stoker.launch.stub.runtime import RunningSequence, Runtime, opened


def main(settings_file: Path) -> int:
    output = _take_standard_output()
    try:
        settings = EngineSettings.read(settings_file)
        runtime = opened(settings)
        output.write(line({"ready": True}))
        _Batch(runtime, settings.chosen.max_batch_size, _requests(), output).run()
    except Exception as error:  # whatever an engine raises is told, in one line
        output.write(line({"failed": error_fields(error)}))
        return 1
    return 0


def _take_standard_output() -> BinaryIO:
    """The messages' own stream, unbuffered; file descriptor 1 is standard error from here on."""
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return output


def _requests() -> queue.SimpleQueue[dict[str, Any]]:
    """Fed by a thread. The end of the input ends the process at once, in the middle of a step too."""
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        for text in sys.stdin.buffer:
            messages.put(parse_json(text))
        os._exit(0)

    threading.Thread(target=read, name="requests", daemon=True).start()
    return messages


class _Batch:
    """Admits, steps and delivers, as many concurrent sequences as the engine takes."""

    def __init__(
        self, runtime: Runtime, most: int, messages: queue.SimpleQueue[dict[str, Any]], output: BinaryIO
    ) -> None:
        self._runtime = runtime
        self._most = most
        self._messages = messages
        self._output = output
        self._waiting: deque[Generation] = deque()
        self._running: dict[str, RunningSequence] = {}

    def run(self) -> None:
        """Until the process ends."""
        while True:
            self._collect()
            self._admit()
            if self._running:
                self._runtime.step()
                self._deliver()

    def _collect(self) -> None:
        """Everything that was said so far; waits for the first word where there is nothing to do."""
        idle = not (self._waiting or self._running)
        while idle or not self._messages.empty():
            self._take(self._messages.get())
            idle = False

    def _take(self, message: dict[str, Any]) -> None:
        if "add" in message:
            self._waiting.append(generation_of(message["add"]))
            return
        request_id = message["cancel"]
        self._waiting = deque(each for each in self._waiting if each.request_id != request_id)
        if sequence := self._running.pop(request_id, None):
            sequence.cancel()

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._most:
            generation = self._waiting.popleft()
            try:
                self._running[generation.request_id] = self._runtime.add(generation)
            except RequestRefusedError as error:
                self._send({"id": generation.request_id, "refused": error_fields(error)})

    def _deliver(self) -> None:
        for request_id, sequence in tuple(self._running.items()):
            output = sequence.read()
            if output.ended:
                del self._running[request_id]
            if output.refused:
                refusal = RequestRefusedError(output.refused)
                self._send({"id": request_id, "refused": error_fields(refusal)})
            elif output.ids or output.ended:
                self._send({
                    "id": request_id,
                    "ids": list(map(int, output.ids)),
                    "log_probs": list(map(float, output.log_probs)),
                    "ended": output.ended,
                    "out_of_memory": output.out_of_memory,
                })  # fmt: skip

    def _send(self, message: dict[str, Any]) -> None:
        self._output.write(line(message))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
