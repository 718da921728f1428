"""The process group of tensor parallelism: one process for each rank, all on one machine.

They meet through a file of the run's own directory and talk over the loopback interface, so that nothing of theirs
listens to other machines.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from stoker.launch.settings import EngineSettings

_LOADING = timedelta(hours=1)  # ranks that read from a slow disk may be that far apart
_ENVIRONMENT = {
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
    # The library never runs two captured graphs at once, and asks for this before the group is made.
    "NCCL_GRAPH_MIXING_SUPPORT": "0",
}


def join(settings: EngineSettings, rank: int, rendezvous: Path) -> None:
    """Makes this process the `rank` of the plan's; returns when all are there. Rank n has the nth visible GPU."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["LOCAL_RANK"] = str(rank)  # by which transformers chooses the device
    device = None
    if settings.chosen.devices:
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else transformers would take a GPU that the plan did not
    dist.init_process_group(
        "gloo" if device is None else "nccl",
        store=dist.FileStore(str(rendezvous), settings.chosen.tensor_parallel),
        rank=rank,
        world_size=settings.chosen.tensor_parallel,
        device_id=device,
        timeout=_LOADING,
    )
