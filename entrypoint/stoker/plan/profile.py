"""What profiles of every engine kind have in common: one way each to build and run an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GOALS = ("throughput", "latency")
AUTOMATIC, ON_REQUEST = "automatic", "on_request"


@dataclass(frozen=True)
class Profile:
    """`order` among the profiles of its kind and goal: of those that fit, the smallest is taken. `group_size`: weights
    that share a scale, 0 where a kind does not say. `checkpoints` says from what it is made, AUTOMATIC or ON_REQUEST.
    `kv_precisions` are those that the user may ask for, as are `activation_precisions`, which are empty where the
    checkpoint decides what the kernels compute in."""

    name: str
    engine: str
    purposes: tuple[str, ...]
    precision: str
    goal: str
    order: int
    group_size: int
    checkpoints: Mapping[str, str]
    kv_precisions: tuple[str, ...]
    activation_precisions: tuple[str, ...]


@dataclass(frozen=True)
class Limits:
    """Where the planner starts, and how far it may shrink; `comfortable_*` are met by a plan that is taken before all
    others. `min_tokens_per_sequence`: what the cache must hold for each of the batch."""

    max_batch_size: int
    min_batch_size: int
    comfortable_batch_size: int
    max_num_tokens: int
    min_num_tokens: int
    max_seq_len: int
    comfortable_seq_len: int
    min_seq_len: int
    min_tokens_per_sequence: int
