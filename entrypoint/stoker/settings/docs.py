"""The table of docs/settings.md: `python -m stoker.settings.docs [FILE]` rewrites it in place."""

from __future__ import annotations

import sys
from pathlib import Path

from stoker.settings.setting import Setting
from stoker.settings.spec import SETTINGS

BEGIN = "<!-- begin: written by `python -m stoker.settings.docs` -->"
END = "<!-- end -->"


def settings_table() -> str:
    """One row a setting, in Markdown, ending with a newline."""
    head = ("Flag", "Variable", "YAML key", "Default", "Meaning")
    rows = [head, ("---",) * len(head), *map(_row, SETTINGS)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def replace_table(text: str) -> str:
    """`text` with what stands between the two marks replaced. ValueError without them."""
    before, rest = text[: text.index(BEGIN)], text[text.index(END) :]
    return f"{before}{BEGIN}\n{settings_table()}{rest}"


def _row(setting: Setting) -> tuple[str, ...]:
    flag = setting.metavar if setting.positional else f"{setting.flag} {setting.metavar}".strip()
    key = f"`{setting.name}`" if setting.in_file else "-"
    return (f"`{flag}`", f"`{setting.variable}`", key, _default(setting), _meaning(setting))


def _default(setting: Setting) -> str:
    if setting.shown_default:
        return setting.shown_default
    if setting.default is None:
        return "none" if setting.name in ("model", "config") else "planned"
    if isinstance(setting.default, bool):
        return f"`{str(setting.default).lower()}`"
    return f"`{setting.default:g}`" if isinstance(setting.default, (int, float)) else f"`{setting.default}`"


def _meaning(setting: Setting) -> str:
    choices = ": " + ", ".join(f"`{choice}`" for choice in setting.choices) if setting.choices else ""
    return f"{setting.help}{choices}"


def main(arguments: list[str]) -> None:
    path = Path(arguments[0] if arguments else "docs/settings.md")
    path.write_text(replace_table(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
