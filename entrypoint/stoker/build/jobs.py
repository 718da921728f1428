"""What a build worker gets: a job, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker.plain import plain
from stoker.plan.types import Chosen, chosen_from
from stoker.resolve.document import model_from
from stoker.resolve.model import Model


@dataclass(frozen=True)
class Site:
    """What of this machine a build may use: the UUIDs of the plan's `gpus`, how many ranks' engines its memory holds at
    once, where to leave the `logs` of a build that fails (empty: nowhere), and the directories of engines that are
    `alike`: built here with the same versions for the same hardware, so that what they compiled serves this one too."""

    gpus: tuple[str, ...] = ()
    ranks_at_once: int = 1
    logs: str = ""
    alike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """Build `model` as `chosen` into `directory`. `calibration` is the user's text, empty for the package's. `draft`:
    the model that guesses tokens for it, which becomes part of the engine."""

    model: Model
    chosen: Chosen
    directory: str
    calibration: str = ""
    site: Site = Site()
    draft: Model | None = None


def as_json(job: Job) -> dict[str, Any]:
    """Plain values only: a `Path` becomes text, a tuple a list."""
    document: dict[str, Any] = plain(job)
    return document


def job_from(document: Mapping[str, Any]) -> Job:
    given = document["site"]
    site = Site(**{**given, "gpus": tuple(given["gpus"]), "alike": tuple(given["alike"])})
    return Job(
        model_from(document["model"]),
        chosen_from(document["chosen"]),
        document["directory"],
        document["calibration"],
        site,
        model_from(document["draft"]) if document.get("draft") else None,
    )
