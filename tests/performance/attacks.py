"""What attacks cost others: `python -m tests.performance.attacks [NAME...]`, a line of JSON for each.

The longest that a health answer and a small request of another key took, in seconds, and how much memory the server
and its processes had over rest, in MiB. `rest`: the same for as long with no attack, for what the machine adds.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from tests.attacks import ATTACKS, Attack, Peak, Target, watching
from tests.served import Served

KEYS = ("attacker", "other")


def rest(_: Target) -> set[int]:
    time.sleep(10)
    return set()


def measured(server: Served, name: str, attack: Attack) -> dict[str, object]:
    peak = Peak(server.process.pid)
    peak.start()
    began = time.perf_counter()
    with watching(server.url, KEYS[1]) as longest:
        time.sleep(0.5)
        statuses = attack(Target(server.url, KEYS[0]))
    seconds = time.perf_counter() - began
    memory = peak.end() / 2**20
    return {"attack": name, **longest, "MiB": round(memory), "seconds": round(seconds, 1), "statuses": sorted(statuses)}


def main(names: list[str]) -> None:
    attacks: dict[str, Attack] = {"rest": rest, **ATTACKS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "keys").write_text("".join(f"{name} {name}\n" for name in KEYS))
        served = Served([sys.executable, "-m", "stoker"], "demo", ["--api-key-file", str(folder / "keys")], folder)
        with served.running() as server:
            for name in names or list(attacks):
                print(json.dumps(measured(server, name, attacks[name])), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
