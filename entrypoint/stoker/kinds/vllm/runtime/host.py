"""vLLM's process: `python -m stoker.kinds.vllm.runtime.host SETTINGS`, in an environment that has vLLM.

It loads the engine that the settings file describes, and serves it on a Unix socket (link.py) to any number of peers:
one message to each for each engine step. It needs of Stoker what the standard library and vLLM's own requirements can
import, and runs below the guard (guard.py), which it starts by itself if it was started without.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import msgspec

from stoker.kinds.vllm.runtime import failures, guard, link, versions
from stoker.kinds.vllm.runtime.link import Link
from stoker.kinds.vllm.runtime.params import SequenceParams
from stoker.launch import frames
from stoker.launch.frames import FrameWriter

logger = logging.getLogger("stoker.vllm")

FAILED_TO_LOAD, ENGINE_BROKE = 71, 72  # exit codes
_SWITCH_SECONDS = 0.0005  # so that a long request's validation does not hold up a step


class HostSettings(msgspec.Struct, frozen=True):
    """The settings file. `engine`: vLLM's EngineArgs by name. `environment` is set before vLLM is imported."""

    socket: str
    engine: dict[str, Any]
    environment: dict[str, str] = {}
    log_level: str = "WARNING"


class Sequence:
    """One sequence, from its arrival to its end. `moments`: nanoseconds of time.monotonic."""

    __slots__ = ("arrived", "cached", "channel", "first", "handle", "params", "peer", "scheduled")

    def __init__(self, peer: Peer, channel: int, handle: int, params: SequenceParams) -> None:
        self.peer = peer
        self.channel = channel
        self.handle = handle
        self.params = params
        self.arrived = time.monotonic_ns()
        self.scheduled = self.first = 0
        self.cached: int | None = None


class Peer:
    """One connection. `ids`: of the requests of its sequences; `writers`: the frames of its channels."""

    def __init__(self, connection: Link) -> None:
        self.link = connection
        self.ids: dict[tuple[int, int], str] = {}
        self.writers: dict[int, FrameWriter] = {}

    def writer(self, channel: int) -> FrameWriter:
        found = self.writers.get(channel)
        if found is None:
            found = self.writers[channel] = FrameWriter()
        return found

    def send(self, *message: object) -> None:
        """Its own reader notices when it disconnects."""
        with contextlib.suppress(OSError):
            self.link.send(*message)

    def send_step(self, usage: versions.Usage, progress: tuple[int, int]) -> None:
        packed = [(channel, writer.pack()) for channel, writer in self.writers.items() if writer]
        self.send(link.STEP, usage.running, usage.waiting, usage.kv, packed, *progress)


class Host:
    """One thread steps and sends, one for each peer receives; vLLM's sockets are used under `_lock`."""

    def __init__(self, engine: versions.Engine) -> None:
        self._engine = engine
        self._block_tokens = engine.facts["kv_block_tokens"] or 1
        self._lock = threading.Lock()
        self._serial = 0
        self._steps = self._tokens = 0
        self._sequences: dict[str, Sequence] = {}
        self._peers: list[Peer] = []

    def serve_peer(self, connection: Link) -> None:
        """Until it goes; its sequences end with it."""
        peer = Peer(connection)
        self._peers = [*self._peers, peer]
        peer.send(link.READY, self._engine.facts)
        try:
            while message := connection.receive():
                self._take(peer, message)
        except OSError:
            pass
        finally:
            self._peers = [each for each in self._peers if each is not peer]
            self._abort(peer, list(peer.ids))
            connection.close()

    def _take(self, peer: Peer, message: list[Any]) -> None:
        kind, channel = message[:2]
        if kind == link.ADD:
            self._add(peer, channel, message[2], message[3], message[4])
        elif kind == link.ABORT:
            self._abort(peer, [(channel, message[2])])
        else:
            self._abort(peer, [key for key in list(peer.ids) if key[0] == channel])

    def _add(self, peer: Peer, channel: int, handle: int, ids: bytes, params: dict[str, Any]) -> None:
        """Whatever vLLM raises here is this request's fault alone: it has not reached the engine."""
        try:
            sequence = Sequence(peer, channel, handle, msgspec.convert(params, SequenceParams))
            self._submit(sequence, array("i", ids))
        except Exception as error:
            if not isinstance(error, ValueError | TypeError | NotImplementedError):
                logger.warning("a request was refused", exc_info=error)
            writer = FrameWriter()
            writer.add(handle, reason=frames.REFUSED, extras={"error": str(error) or type(error).__name__})
            peer.send(link.FRAME, channel, writer.pack())

    def _submit(self, sequence: Sequence, ids: Any) -> None:
        self._serial += 1
        request_id = f"{id(sequence.peer):x}-{sequence.channel}-{sequence.handle}-{self._serial}"
        peer, key = sequence.peer, (sequence.channel, sequence.handle)
        self._sequences[request_id] = sequence
        peer.ids[key] = request_id
        try:
            self._engine.add(request_id, ids, sequence.params, self._lock)
        except BaseException:
            self._sequences.pop(request_id, None)
            peer.ids.pop(key, None)
            raise

    def _abort(self, peer: Peer, keys: list[tuple[int, int]]) -> None:
        gone = [request_id for key in keys if (request_id := peer.ids.pop(key, None))]
        for request_id in gone:
            self._sequences.pop(request_id, None)
        if gone:
            with self._lock:
                self._engine.abort(gone)

    def run(self) -> None:
        """Steps for ever. Whatever the engine raises when it is broken."""
        while True:
            outputs, usage = self._engine.step()
            for output in outputs:
                sequence = self._sequences.get(output.request_id)
                if sequence is not None:
                    self._write(sequence, output)
            for peer in self._peers:
                peer.send_step(usage, (self._steps, self._tokens))

    def _write(self, sequence: Sequence, output: Any) -> None:
        reason = versions.reason_of(output)
        ids = output.new_token_ids if sequence.params.max_tokens else ()
        self._steps += bool(ids)
        self._tokens += len(ids)
        log_probs: list[float] | None = None
        extras: frames.Extras | None = None
        if not sequence.first or reason:
            extras = self._extras(sequence, output, reason)
        if ids and output.new_logprobs is not None:
            log_probs, top = versions.log_probs_of(output)
            if top:
                extras = extras or {}
                extras["top"] = top
        if reason:
            self._sequences.pop(output.request_id, None)
            sequence.peer.ids.pop((sequence.channel, sequence.handle), None)
        sequence.peer.writer(sequence.channel).add(sequence.handle, ids, log_probs, reason, extras)

    def _extras(self, sequence: Sequence, output: Any, reason: int) -> frames.Extras:
        """What is said with the first token, or at the end."""
        extras: frames.Extras = {}
        if not sequence.first:
            self._note_first(sequence, output)
            if prompt := versions.prompt_log_probs_of(output):
                extras["prompt"] = prompt
        if reason and sequence.params.perf_metrics and sequence.first:
            extras["told"] = self._told(sequence)
        if (embedding := versions.embedding_of(output)) is not None:
            extras["embedding"] = embedding
        if reason == frames.FAILED:
            extras["error"] = "the engine failed on this request"
        return extras

    def _note_first(self, sequence: Sequence, output: Any) -> None:
        cached = versions.cached_tokens(output)
        if cached is not None:
            sequence.cached = cached
        scheduled = versions.scheduled_ns(output)
        if scheduled:
            sequence.scheduled = scheduled
        if output.new_token_ids:
            sequence.first = time.monotonic_ns()

    def _told(self, sequence: Sequence) -> dict[str, int]:
        """By the names of the contract's tensors."""
        told = {
            "arrival_time_ns": sequence.arrived,
            "first_scheduled_time_ns": sequence.scheduled or sequence.arrived,
            "first_token_time_ns": sequence.first,
            "last_token_time_ns": time.monotonic_ns(),
        }
        if sequence.cached is not None:
            told["kv_cache_reused_blocks"] = sequence.cached // self._block_tokens
        return told

    def fail(self, message: str) -> None:
        for peer in self._peers:
            peer.send(link.FAILED, link.BROKEN, message)


def main(path: str) -> int:
    settings = msgspec.json.decode(Path(path).read_bytes(), type=HostSettings)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=settings.log_level)
    signal.signal(signal.SIGTERM, _raise_exit)
    listening = listen(Path(settings.socket))
    versions.prepare_environment(
        {**failures.write_logging_config(Path(settings.socket).parent, settings.log_level), **settings.environment}
    )
    if settings.engine.get("node_rank"):
        return follow(settings.engine, listening)
    try:
        engine = versions.Engine(settings.engine)
    except Exception as error:
        return report_failure(error, listening)
    try:
        return serve(engine, listening)
    except SystemExit:  # asked to end: the engine may do so in peace
        engine.close()
        raise


def follow(arguments: dict[str, Any], listening: socket.socket) -> int:
    """This machine's ranks of an engine that another machine leads, until one of them ends."""
    try:
        ranks = versions.Ranks(arguments)
    except Exception as error:
        return report_failure(error, listening)
    connection = Link(listening.accept()[0])
    connection.send(link.READY, ranks.facts)
    ranks.watch()
    return ENGINE_BROKE


def serve(engine: versions.Engine, listening: socket.socket) -> int:
    host = Host(engine)
    threading.Thread(target=accept, args=(host, listening), name="accept", daemon=True).start()
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    try:
        host.run()
    except Exception as error:
        logger.exception("the engine broke")
        host.fail(engine.cause(error))
    return ENGINE_BROKE


def listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen(16)
    return listening


def accept(host: Host, listening: socket.socket) -> None:
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=host.serve_peer, args=(Link(connection),), name="peer", daemon=True).start()


def report_failure(error: Exception, listening: socket.socket) -> int:
    """To those that wait for the engine, and as the exit code."""
    code, text = failures.cause_of(error)
    logger.error("the engine cannot be loaded (%s): %s", code, text)
    listening.settimeout(1)
    try:
        while True:
            Link(listening.accept()[0]).send(link.FAILED, code, text)
    except OSError:
        return FAILED_TO_LOAD


def _raise_exit(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    if guard.VARIABLE not in os.environ:
        os.execv(sys.executable, [sys.executable, "-m", guard.__name__, *sys.argv[1:]])  # noqa: S606
    ended = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(ended)  # at once: what is below ends with it
