"""The settings of a server that is one of several: of a fleet, or of the machines that share a model."""

from __future__ import annotations

from stoker.settings.setting import Setting

FLEET_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "nodes",
        "whole",
        "Machines that share the model, each of which runs the same command with its own `--node-rank`; in a pod of a "
        "LeaderWorkerSet `LWS_GROUP_SIZE` says it, and the two below are `LWS_WORKER_INDEX` and `LWS_LEADER_ADDRESS`",
        default=1,
        metavar="N",
        applies_to=("serve", "plan", "manifest"),
        minimum=1,
    ),
    Setting(
        "node-rank",
        "whole",
        "Which of the machines this is; 0 is the leader, the only one that serves the API",
        default=0,
        metavar="K",
        applies_to=("serve",),
        minimum=0,
    ),
    Setting(
        "leader",
        "text",
        "Name or address of the leader, which the other machines connect to",
        shown_default="none",
        metavar="HOST",
        applies_to=("serve",),
    ),
    Setting(
        "dynamo",
        "text",
        "Serve NVIDIA Dynamo too, as a worker of this namespace; needs `STOKER_DYNAMO_PYTHON`, "
        "a Python that has ai-dynamo",
        shown_default="none",
        metavar="NAMESPACE",
        applies_to=("serve",),
    ),
)
