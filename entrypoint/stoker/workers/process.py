"""An API process: `python -m stoker.workers.process LINK CONNECTIONS`, both of them descriptors of inherited sockets.

It ends when the server's process does, and serves only what that hands to it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stoker.launch.replicas import Address
from stoker.logs import set_up_logging
from stoker.serve.http.app import create_worker_app
from stoker.serve.http.connections import raise_descriptor_limit
from stoker.serve.http.keys import Keys
from stoker.serve.http.peers import networks_of
from stoker.serve.http.server import Closes, HttpServer, Take
from stoker.serve.http.tls import TlsFiles, reloading_context
from stoker.serve.http.watched import WatchedFiles
from stoker.serve.operate.adapters import Adapters, Served
from stoker.serve.operate.counted import count_in
from stoker.serve.operate.lifecycle import Serving
from stoker.serve.operate.service import Exposure, Service
from stoker.serve.operate.tracing import open_tracer
from stoker.workers.engine import WorkerEngine
from stoker.workers.handing import Inlet
from stoker.workers.link import Handlers, Link
from stoker.workers.orders import Equip, Start, unpacked
from stoker.workers.remote import Elsewhere, RemoteDoorkeeper, RemoteRoom, RemoteStore


def main(link: int, connections: int) -> None:
    import uvloop

    raise_descriptor_limit()
    uvloop.run(_run(socket.socket(fileno=link), socket.socket(fileno=connections)))


async def _run(link: socket.socket, connections: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the server's process heeds them for all
        loop.add_signal_handler(number, lambda: None)
    worker = Worker(connections)
    link.setblocking(False)
    await loop.create_connection(lambda: worker.link, sock=link)
    await worker.run()


class Worker:
    """Does what the server's process says, until that ends or says so."""

    def __init__(self, connections: socket.socket) -> None:
        self._connections = connections
        self._stopping = asyncio.Event()
        self._engine: WorkerEngine | None = None
        self._addresses: dict[int, Address] = {}
        self._adapters: Adapters = Adapters()
        self._inlet: Inlet | None = None
        self._service: Service
        self._server: HttpServer | None = None
        told: Mapping[str, Callable[..., None]] = {
            "phase": self._phase,
            "replica": self._replica,
            "keys": self._keys,
            "adapters": self._take_adapters,
            "look_again": self._look_again,
            "abort": lambda: self._service.lifecycle.abort(),
            "end_idle": self._end_idle,
            "stop": self._stopping.set,
        }
        asked: Mapping[str, Callable[..., Awaitable[object]]] = {
            "start": self._start,
            "equip": self._equip,
            "agree": self._agree,
            "state": self._state,
            "drained": self._drained,
        }
        self.link = Link(Handlers(told, asked))

    async def run(self) -> None:
        ends: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._stopping.wait()), self.link.lost}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._server is not None:
            if not self.link.lost.done():
                await self._server.stop()
            if self._service.tracer is not None:
                await asyncio.to_thread(self._service.tracer.close)
        self.link.close()

    async def _start(self, document: Any) -> None:
        """Takes connections from here on; they are answered as far as they can be without an engine."""
        start = unpacked(document, Start)
        set_up_logging(start.log_format, start.log_level)
        count_in(start.counted, start.worker)
        service = self._service = _service_of(start, self.link)
        self._adapters = service.adapters
        self._adapters.on_request = lambda name: self.link.tell("adapter", name)
        app = create_worker_app(service, Elsewhere(self.link, service))
        tls = reloading_context(TlsFiles(*start.tls)) if start.tls else None
        self._server = HttpServer(app, self._connections, tls, keep_alive=start.keep_alive, source=self._source)
        self._serving = asyncio.create_task(self._server.serve())

    def _source(self, end: socket.socket, take: Take) -> Closes:
        self._inlet = Inlet(end, take, self.link)
        return self._inlet

    def _end_idle(self, number: int) -> None:
        if self._inlet is not None:
            self._inlet.end_idle(number)

    async def _equip(self, document: object) -> None:
        """Loads what an engine is served with. Requests are taken once the phase is `ready`."""
        order = unpacked(document, Equip)
        self._addresses = dict(enumerate(order.addresses))
        self._adapters.replace(order.adapters)
        frontend = await asyncio.to_thread(order.recipe.load, self._adapters)
        former, self._engine = self._engine, WorkerEngine(self.link, self._addresses, order.block_tokens)
        self._service.lifecycle.equip(Serving(self._engine, frontend))
        if former is not None:
            await former.close()
        gc.collect()
        gc.freeze()

    def _phase(self, name: str, detail: str) -> None:
        """`ready` only comes once an engine has, so that what this process is equipped with stays until another is."""
        self._service.lifecycle.phase(name, detail)

    def _replica(self, number: int, grpc: str, metrics: str, reason: str) -> None:
        address = self._addresses[number] = Address(grpc, metrics, reason)
        if self._engine is not None:
            self._engine.follow(number, address)

    def _keys(self, names: dict[bytes, str]) -> None:
        self._service.exposure.keys.names = names

    def _take_adapters(self, served: object) -> None:
        self._adapters.replace(unpacked(served, tuple[Served, ...]))

    def _look_again(self, level: str) -> None:
        WatchedFiles.look_again()
        logging.getLogger().setLevel(level)

    async def _agree(self) -> None:
        """All that was told before has been done."""

    async def _state(self) -> list[object]:
        """Requests in flight, tokens of the answers under way, and seconds of processor time."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        service = self._service
        return [service.lifecycle.in_flight, service.metrics.tokens_under_way, used.ru_utime + used.ru_stime]

    async def _drained(self, seconds: float) -> int:
        """Requests that are left in flight after so many seconds."""
        await self._service.lifecycle.drained(seconds)
        return self._service.lifecycle.in_flight


def _service_of(start: Start, link: Link) -> Service:
    exposure = Exposure(
        keys=Keys.of(start.keys),
        cors_origins=start.cors_origins,
        allowed_hosts=start.allowed_hosts,
        trusted_proxies=networks_of(" ".join(start.trusted_proxies)),
        management_apart=start.management_apart,
        log_prompts=start.log_prompts,
    )
    service = Service(
        limits=start.limits,
        exposure=exposure,
        responses=RemoteStore(link) if start.keeps_responses else None,
        tracer=open_tracer(start.otlp) if start.otlp else None,
        reject_unknown=start.reject_unknown,
    )
    service.uploads, service.remote = RemoteRoom(link), RemoteDoorkeeper(link)
    return service


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
