"""The settings of LoRA adapters: docs/adapters.md."""

from __future__ import annotations

from stoker.settings.setting import Setting

DEFAULT_ADAPTERS = 8
DEFAULT_RANK = 32

ADAPTER_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "lora",
        "named",
        "LoRA adapters to serve with the model, each under its own name: `NAME=./directory` or "
        "`NAME=org/name@revision`; repeat the flag for several, or separate them by commas",
        shown_default="none",
        metavar="NAME=ADAPTER",
        applies_to=("serve", "plan"),
    ),
    Setting(
        "lora-source",
        "path",
        "Directory of LoRA adapters, a folder each, that are served under their folders' names; it is watched",
        shown_default="none",
        metavar="DIR",
        applies_to=("serve", "plan"),
    ),
    Setting(
        "lora-refresh",
        "seconds",
        "How often `lora-source` is looked at; 0 looks once, at the start",
        default=30.0,
        metavar="SECONDS",
        applies_to=("serve",),
        minimum=0,
    ),
    Setting(
        "max-loras",
        "whole",
        "Most LoRA adapters at once",
        shown_default=f"as many as `lora` names; with `lora-source` at least {DEFAULT_ADAPTERS}; else none",
        metavar="N",
        minimum=1,
        maximum=255,
    ),
    Setting(
        "max-lora-rank",
        "whole",
        "Largest rank of a LoRA adapter; memory is set aside for it",
        shown_default=f"{DEFAULT_RANK}, where there are adapters",
        metavar="N",
        minimum=1,
        maximum=512,
    ),
)
