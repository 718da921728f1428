"""The support tables of docs/nvidia.md, from profiles/nvidia: GPU by precision, and model family by precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from stoker.kinds.tensorrt_llm.plan.catalogue import COMPILED, FOLDER, PYTORCH, Catalogue, Support, Verdict, load_nvidia
from stoker.kinds.tensorrt_llm.plan.rules import MODELS, WEIGHTS
from stoker.plan.catalogue import catalogue_directory, read
from stoker.probe.description import products

_LETTERS = ((COMPILED, "C"), (PYTORCH, "P"))
KEY = """\
`C`: compiled engines (`tensorrt_llm`). `P`: TensorRT-LLM's PyTorch backend (`tensorrt_llm_pytorch`). `?` behind it: no
table of the vendor lists it and nothing rules it out; it is taken last, and the plan says that it may fail. Empty:
refused, or not there. A model runs on a GPU in a precision where the same letter stands in both tables, and its
checkpoint suits (below).
"""


def support_tables() -> str:
    catalogue = load_nvidia()
    families = read(catalogue_directory() / FOLDER / "models.yaml", MODELS)["families"]
    return "\n".join(
        (
            KEY,
            *_table("GPU", _gpu_rows(catalogue)),
            "",
            *_table("family", _family_rows(catalogue, families)),
            "",
            *_refused(catalogue, families),
            "",
        )
    )


def _table(first: str, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {first} | {' | '.join(WEIGHTS)} |"
    yield "|---" * (len(WEIGHTS) + 1) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |".replace("|  |", "| |").replace("|  |", "| |")


def _gpu_rows(catalogue: Catalogue) -> Iterator[Sequence[str]]:
    for capability, verdicts in catalogue.capabilities.items():
        if any(isinstance(verdict, Support) for verdict in verdicts.values()):
            name = f"{_named(capability)} ({capability[0]}.{capability[1]})"
            yield (name, *(cell(verdicts, precision) for precision in WEIGHTS))


def _family_rows(catalogue: Catalogue, families: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[Sequence[str]]:
    for family, entry in families.items():
        verdicts = catalogue.models[entry["architectures"][0]]
        if any(isinstance(verdict, Support) for verdict in verdicts.values()):
            names = ", ".join(name.removesuffix("ForCausalLM") for name in entry["architectures"])
            yield (f"{family}: {names}", *(cell(verdicts, precision) for precision in WEIGHTS))


def cell(verdicts: Mapping[str, Verdict], precision: str) -> str:
    return " ".join(
        letter + ("?" if precision in verdict.unproven else "")
        for kind, letter in _LETTERS
        if isinstance(verdict := verdicts[kind], Support) and precision in verdict.listed | verdict.unproven
    )


def _named(capability: tuple[int, int]) -> str:
    """Examples of the products that `--machine` knows."""
    wanted = ".".join(map(str, capability))
    names = dict.fromkeys(each.name for each in products().values() if each.capability == wanted)
    short = [name.removeprefix("NVIDIA ").removeprefix("GeForce ") for name in names]
    return ", ".join(short[:3]) or "no product known"


def _refused(catalogue: Catalogue, families: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[str]:
    """What has no engine at all, and why."""
    for capability, verdicts in catalogue.capabilities.items():
        if not any(isinstance(verdict, Support) for verdict in verdicts.values()):
            yield f"- {_named(capability)} ({capability[0]}.{capability[1]}): {verdicts[COMPILED]}"
    for family, entry in families.items():
        verdicts = catalogue.models[entry["architectures"][0]]
        for kind in (COMPILED, PYTORCH):
            if isinstance(why := verdicts[kind], str):
                yield f"- {family} as `{kind}`: {why}"
