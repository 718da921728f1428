"""What a plan reads of a model of the hub: headers, no weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stoker.resolve.resolve import resolve

if TYPE_CHECKING:
    from tests.hub_server import HubServer
    from tests.unit.resolve.conftest import Recorder

Make = Callable[..., dict[str, bytes]]
NAME = "org/tiny-llama"


def test_planning_reads_headers_by_ranges(hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder) -> None:
    files = checkpoint(padding=2_000_000)
    commit = hub.add_repository(NAME, files)
    model = resolve(NAME, tmp_path, progress, weights=False)
    assert (model.directory, model.revision) == (None, commit)
    assert model.weights.measured
    assert model.weights.parameters == 2_000_000 + 64 * 16 * 2 + 16
    assert hub.content_bytes < 100_000


def test_planning_with_a_header_longer_than_one_request(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    header = {f"t{i:05}": {"dtype": "I8", "shape": [1], "data_offsets": [i, i + 1]} for i in range(3000)}
    text = json.dumps(header).encode()
    hub.add_repository(NAME, checkpoint() | {"model.safetensors": len(text).to_bytes(8, "little") + text + bytes(3000)})
    assert resolve(NAME, tmp_path, progress, weights=False).weights.parameters == 3000


def test_planning_of_shards_with_a_fitting_index_reads_no_header(
    hub: HubServer, checkpoint: Make, tmp_path: Path, progress: Recorder
) -> None:
    files = checkpoint(shards=2)
    index = json.loads(files["model.safetensors.index.json"])
    hub.add_repository("org/config-only", {"config.json": files["config.json"]})
    index["metadata"]["total_size"] = resolve("org/config-only", tmp_path, progress, weights=False).weights.total_bytes
    hub.add_repository(NAME, files | {"model.safetensors.index.json": json.dumps(index).encode()})
    model = resolve(NAME, tmp_path, progress, weights=False)
    assert model.weights.measured
    assert len(model.weights.files) == 2
    assert hub.count("GET", "/cdn/") == 0
