"""Settings of what `stoker tune` measures."""

from __future__ import annotations

from stoker.settings.setting import Setting

TUNING_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "tune",
        "switch",
        "Measure what the plan leaves open before the first start, as `stoker tune` does, unless that was done already",
        default=False,
        applies_to=("serve", "up"),
    ),
    Setting(
        "no-tune",
        "switch",
        "Plan without what `stoker tune` measured",
        default=False,
        applies_to=("serve", "plan", "build", "export", "generate", "manifest", "up"),
    ),
)
