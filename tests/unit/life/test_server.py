"""What ends a server besides its engine and signals."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest
from tests.waiting import SECONDS

from stoker.life.server import _Serving


def test_an_api_that_cannot_be_made_ends_the_server_instead_of_leaving_it_silent() -> None:
    stopped = []

    async def serve() -> NoReturn:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            stopped.append("the engine's work")
            raise
        raise AssertionError

    async def listen() -> None:
        raise ImportError("no module named endpoints")

    async def run() -> None:
        serving = object.__new__(_Serving)
        serving.stopping = asyncio.Event()
        with pytest.raises(ImportError, match="endpoints"):
            await serving._until_told(serve(), asyncio.ensure_future(listen()))
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(run(), SECONDS))
    assert stopped == ["the engine's work"]
