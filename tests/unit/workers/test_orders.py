"""What API processes are told at the start and for an engine arrives as it was sent."""

from __future__ import annotations

from pathlib import Path

import msgspec

from stoker.launch.capabilities import Capabilities
from stoker.launch.generation import Adapter
from stoker.launch.replicas import Address
from stoker.resolve.adapter import ResolvedAdapter
from stoker.serve.generate.admission import Capacity
from stoker.serve.http.limits import Limits
from stoker.serve.operate.adapters import Served
from stoker.serve.operate.frontend import Recipe
from stoker.store.engine import Engine, EngineFile, Manifest
from stoker.workers.orders import Equip, Start, packed, unpacked

SERVED = Served(
    "fox",
    Adapter(3, "/cache/adapters/x"),
    ResolvedAdapter("org/fox", "abc", "org/base", 8, 1000, Path("/cache/adapters/x"), {"q_proj": (64, 64)}),
    created=7,
)


def sent(order: object, kind: type) -> object:
    return unpacked(msgspec.msgpack.decode(msgspec.msgpack.encode(packed(order))), kind)


def test_the_start() -> None:
    start = Start(
        worker=1,
        limits=Limits(queue=3, seconds=1.5),
        keys={b"\x00\xff" * 16: "ann"},
        cors_origins=("https://a.example",),
        allowed_hosts=(),
        trusted_proxies=("10.0.0.0/8",),
        management_apart=True,
        log_prompts=False,
        reject_unknown=True,
        keeps_responses=True,
        keep_alive=75.0,
        otlp="",
        log_format="json",
        log_level="INFO",
        counted=Path("/run/x"),
        tls=(Path("/cert"), Path("/key"), None),
    )
    assert sent(start, Start) == start


def test_an_engine_with_its_adapters_and_replicas() -> None:
    manifest = Manifest(
        2, "key", "openvino", "demo", "", {"devices": []}, {}, {}, files=(EngineFile("a", 1, "0" * 64),)
    )
    capabilities, capacity = Capabilities(frozenset({"guide"}), True), Capacity(9, 100, 32, 1)
    engine = Engine(Path("/cache/engines/key"), manifest)
    recipe = Recipe(engine, capabilities, ("demo", "fox"), 2048, capacity, Limits(), "auto", "none", True)
    order = Equip(recipe, (SERVED,), [Address("unix:/x", "/y"), Address("", "", "it died")], 32)
    assert sent(order, Equip) == order


def test_adapters() -> None:
    assert sent((SERVED,), tuple[Served, ...]) == (SERVED,)
