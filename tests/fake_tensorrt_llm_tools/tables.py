"""Reads a command line by the documented flags in flags.yaml."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

TABLES = yaml.safe_load(Path(__file__).with_name("flags.yaml").read_text())
TYPES = {"text": str, "whole": int, "number": float}


def read(tool: str, arguments: list[str]) -> argparse.Namespace:
    """As argparse does in the real ones, but that no flag may come twice; ends with code 2 for what is not listed."""
    parser = argparse.ArgumentParser(tool, allow_abbrev=False)
    for flag, value in TABLES[tool].items():
        name = flag.lstrip("-").replace("-", "_")
        if value == "switch":
            parser.add_argument(flag, dest=name, action="store_true")
        elif isinstance(value, dict):
            parser.add_argument(flag, dest=name, nargs="+", choices=value["several"])
        elif isinstance(value, list):
            parser.add_argument(flag, dest=name, choices=value)
        else:
            parser.add_argument(flag, dest=name, type=TYPES[value])
    flags = [word for word in arguments if word.startswith("--")]
    if len(flags) != len(set(flags)):
        parser.error(f"a flag came twice: {flags}")
    return parser.parse_args(arguments)
