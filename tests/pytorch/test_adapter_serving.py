"""LoRA adapters on PyTorch behind the API."""

from __future__ import annotations

from pathlib import Path

from tests.adapted import PROMPTS, Adapted, load_and_unload_under_load


def test_loading_and_unloading_under_load_gives_no_wrong_answer(tmp_path: Path) -> None:
    """Of 16 streams over the base and four adapters, which take turns, while a fifth comes and goes."""
    server = Adapted(tmp_path, "--profile", "torch-f32-throughput")
    try:
        server.wait_until(lambda: server.status("/v1/health/ready") == 200, "ready", seconds=400)
        assert "LoRA adapters of rank 16" in server.output
        load_and_unload_under_load(server, rounds=1, prompts=PROMPTS[:2])
    finally:
        server.stop()
