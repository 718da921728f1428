"""Numbers of a model's files, checked where they are read: of the right type, finite and in range.

The ranges are far wider than any published model; they keep a damaged or hostile file from asking for unbounded memory
or time. `null` counts as absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from reprlib import Repr

from stoker.errors import DamagedModelError

CONFIG_FILE = "config.json"
LARGEST = 2**31 - 1
_LIMITS: Mapping[str, int] = {
    "head_dim": 1 << 14,
    "hidden_size": 1 << 20,
    "intermediate_size": 1 << 24,
    "moe_intermediate_size": 1 << 24,
    "ffn_hidden_size": 1 << 24,
    "kv_channels": 1 << 14,
    "num_attention_heads": 1 << 14,
    "num_key_value_heads": 1 << 14,
    "num_query_groups": 1 << 14,
    "num_hidden_layers": 10_000,
    "num_layers": 10_000,
    "num_experts": 1 << 16,
    "num_local_experts": 1 << 16,
    "n_routed_experts": 1 << 16,
    "num_experts_per_tok": 1 << 16,
    "type_vocab_size": 1 << 16,
    "vocab_size": 1 << 26,
}
_REMEDY = "compare it with the file of the model's published revision"
_shown = Repr()
_shown.maxstring = _shown.maxlong = _shown.maxother = 40


def whole(
    values: Mapping[str, object], key: str, default: int | None = None, *, file: str = CONFIG_FILE, low: int = 1
) -> int:
    """A whole number of at least `low` and at most what a key of that name may be. Raises DamagedModelError."""
    value = _given(values, key, default, file)
    high = _LIMITS.get(key.rpartition(".")[2], LARGEST)
    if type(value) is not int or value < low:
        kind = "a positive whole number" if low == 1 else f"a whole number of at least {low}"
        raise bad_value(file, key, value, f"it must be {kind}")
    if value > high:
        raise bad_value(file, key, value, f"the largest supported is {high:,}")
    return value


def real(
    values: Mapping[str, object],
    key: str,
    default: float | None = None,
    *,
    file: str = CONFIG_FILE,
    low: float = -math.inf,
    high: float = 1e12,
) -> float:
    """A finite number above `low` and at most `high`. Raises DamagedModelError."""
    return checked(_given(values, key, default, file), key, file=file, low=low, high=high)


def checked(value: object, name: str, *, file: str = CONFIG_FILE, low: float = -math.inf, high: float = 1e12) -> float:
    """`value`, which is called `name` in the file, as `real` takes it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not _within(value, low, high):
        least = f" above {low:g}" if low > -math.inf else ""
        raise bad_value(file, name, value, f"it must be a finite number{least} and at most {high:g}")
    return float(value)


def _within(value: float, low: float, high: float) -> bool:
    """A whole number of JSON may be larger than any float; comparing is exact."""
    return low < value <= high and value >= -high


def bad_value(file: str, key: str, value: object, why: str) -> DamagedModelError:
    return DamagedModelError(f"{file}: {key} is {shown(value)}", why=why, remedy=_REMEDY)


def shown(value: object) -> str:
    """The value as a message can show it, whatever its size."""
    try:
        return _shown.repr(value)
    except (ValueError, RecursionError):  # a whole number of more digits than Python prints
        return f"a {type(value).__name__} too large to print"


def _given(values: Mapping[str, object], key: str, default: object, file: str) -> object:
    value = values.get(key.rpartition(".")[2])
    if value is not None:
        return value
    if default is None:
        raise DamagedModelError(f"{file}: {key} is missing", why="it is needed to run the model", remedy=_REMEDY)
    return default
