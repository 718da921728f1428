"""Which profiles do what a model is for: text, or vectors and scores."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.errors import UsageError
from stoker.plan.profile import Profile
from stoker.plan.types import EMBEDDING, Wishes
from stoker.plan.wishes import asked
from stoker.resolve.model import Model


def suitable(profiles: Sequence[Profile], model: Model, wishes: Wishes) -> tuple[Profile, ...]:
    """UsageError where the wished profile is for the other purpose."""
    pools = model.pooling is not None
    own = tuple(profile for profile in profiles if (profile.engine == EMBEDDING) == pools)
    names = {profile.name for profile in own}
    others = {profile.name for profile in profiles}.difference(names)
    wish = wishes.profile
    if wish is not None and wish.value not in names and (pools or wish.value in others):
        why = f"{model.served_name} gives {'no text' if pools else 'text'}"
        remedy = f"use one of {', '.join(sorted(names))}"
        raise UsageError(f"{asked(wish, 'profile')} {wish.value} cannot be had", why=why, remedy=remedy)
    return own
