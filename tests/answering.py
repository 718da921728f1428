"""The application on a real socket, in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from stoker.serve.http.app import create_app
from stoker.serve.http.server import HttpServer, bind
from stoker.serve.operate.service import Service


@contextmanager
def answering(service: Service) -> Iterator[str]:
    """Its address."""
    loop = uvloop.new_event_loop()
    server = HttpServer(create_app(service), bind("127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(),))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        thread.join(30)
        loop.close()
