"""Dynamo's process: which Python runs it, what it may see, and how it is started and ended."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stoker.child_environment import child_environment
from stoker.errors import UsageError
from stoker.fleet.dynamo.wire import Wire
from stoker.launch.run_directory import temporary_run_directory
from stoker.source_links import link_source

PYTHON = "STOKER_DYNAMO_PYTHON"
WORKER = "stoker.fleet.dynamo.worker"
SOURCE = ("fleet/dynamo", "framing.py")  # what that process needs of Stoker
MODEL = "model"
"""What the model's folder is called to Dynamo, relative to its process: frontends take only workers of one model card
for the same model, and the folder's name is part of it, which on each machine may be another."""
# What Dynamo is told by its own variables: where etcd and NATS are, with what, and how it logs.
_PASSED_ON = ("DYN_", "ETCD_", "NATS_", "OTEL_", "POD_", "KUBERNETES_")
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME")
_ENDS_SECONDS = 10.0


def interpreter(environ: Mapping[str, str] = os.environ) -> str:
    """That of an environment which has ai-dynamo. UsageError if there is none."""
    named = environ.get(PYTHON)
    if named and shutil.which(named):
        return named
    if not named and importlib.util.find_spec("dynamo") is not None:
        return sys.executable
    why = f"{PYTHON} is {named}, which cannot be run" if named else f"{PYTHON} is not set"
    raise UsageError(
        "there is no Python with ai-dynamo",
        why=why,
        remedy=f"install ai-dynamo in an environment of its own and set {PYTHON} to its Python",
    )


def environment(sources: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """This process's, with Dynamo's own variables, credentials for etcd and NATS among them."""
    kept = {name: value for name, value in child_environment().items() if name not in _NOT_INHERITED}
    dynamo = {name: value for name, value in environ.items() if name.startswith(_PASSED_ON)}
    return {
        "DYN_LOG": "warn",
        "DYN_SYSTEM_PORT": "0",  # any: frontends fetch the tokenizer and template from there
        "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "0",  # Stoker itself leaves first, and then drains
        **kept,
        **dynamo,
        "PYTHONPATH": str(sources),
    }


class DynamoProcess:
    """A running one. It ends by `stop`, or when this process does: its end of the socket says so."""

    def __init__(self, process: asyncio.subprocess.Process, wire: Wire, sources: tempfile.TemporaryDirectory[str]):
        self.wire = wire
        self._process = process
        self._sources = sources

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        return await self._process.wait()

    async def stop(self) -> None:
        """Returns when it has exited; it deregisters first, where it can."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _ENDS_SECONDS)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self.wire.close()
        self._sources.cleanup()


async def start_process(model: Path) -> DynamoProcess:
    """`model` is a folder with a tokenizer, template and configuration. UsageError where no Python has ai-dynamo."""
    python = interpreter()
    sources = temporary_run_directory()
    link_source(Path(sources.name), *SOURCE)
    (Path(sources.name) / MODEL).symlink_to(model.absolute())
    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            *(python, "-m", WORKER, str(theirs.fileno())),
            pass_fds=(theirs.fileno(),),
            cwd=sources.name,
            start_new_session=True,  # Ctrl-C is for Stoker, which drains before this process ends
            env=environment(Path(sources.name)),
        )
    except OSError as error:
        ours.close()
        sources.cleanup()
        raise UsageError("Dynamo's process did not start", why=str(error), remedy=f"check {PYTHON}") from error
    finally:
        theirs.close()
    return DynamoProcess(process, Wire(*await asyncio.open_connection(sock=ours)), sources)
