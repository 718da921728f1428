"""Which profiles do what a model is for: text, or vectors and scores."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.errors import UsageError
from stoker.plan.overrides import asked
from stoker.plan.profile import Profile
from stoker.plan.types import EMBEDDING, RERANK, TEXT, Overrides
from stoker.resolve.model import Model


def purpose_of(model: Model) -> str:
    """One of types.PURPOSES."""
    if model.pooling is None:
        return TEXT
    return RERANK if model.pooling.method == "score" else EMBEDDING


def pools(model: Model) -> bool:
    """Whether it gives no text, but vectors or scores: each text is encoded whole, and there is no KV cache."""
    return model.pooling is not None


def suitable(profiles: Sequence[Profile], model: Model, overrides: Overrides) -> tuple[Profile, ...]:
    """UsageError where the given profile is for the other purpose."""
    own = tuple(profile for profile in profiles if purpose_of(model) in profile.purposes)
    names = {profile.name for profile in own}
    others = {profile.name for profile in profiles}.difference(names)
    override = overrides.profile
    if override is not None and override.value not in names and (pools(model) or override.value in others):
        why = f"{model.served_name} gives {'no text' if pools(model) else 'text'}"
        remedy = f"use one of {', '.join(sorted(names))}"
        raise UsageError(f"{asked(override, 'profile')} {override.value} cannot be had", why=why, remedy=remedy)
    return own
