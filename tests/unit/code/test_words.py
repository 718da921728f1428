"""Every text that people read keeps to the glossary: documents, help, messages, comments, the page, deployments.

A phrase is forbidden with its replacement in `FORBIDDEN`. Line breaks and comment marks count as blanks,
so that a phrase that is broken over two lines counts as well.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[3]

# Regular expressions, matched between word boundaries in any case, and what to say instead.
FORBIDDEN = {
    r"tokens? a (second|step|minute)": "tokens/s, tokens per second, tokens per step",
    r"bytes a token": "bytes per token",
    r"next to (no|nothing)": "negligible, almost no, very little",
    r"(sequences|requests|streams) at once": "concurrent sequences, batch size",
    r"most sequences": "maximum batch size",
    r"spoken for": "reserved, reserves",
    r"eldest": "oldest",
    r"mend(s|ed|ing)?": "fix",
    r"but for": "except, except for, without",
    r"think(s|ing)? aloud": "reasoning",
    r"(is|are|was|were|be|been) gone": "exited, closed, removed, lost",
    r"(go|goes|went|gone|going) away": "exit, close, end",
    r"gone on with": "continued",
    r"stay(s|ed)? as (it|they) (is|are|was|were)": "keep the current one",
    r"at hand": "available, current",
    r"(to|can|cannot|could) be had": "available, not available",
    r"left aside": "rejected",
    r"asked were": "tried",
    r"used for longest": "least recently used",
    r"(those|tokens|queue|ones?|state|conversation|figures) of (now|before)": "current, previous",
    r"stays? idle": "unused",
    r"all that the model allows": "the model's maximum",
    r"says nothing of": "does not describe",
    r"is no (model reference|command|number|setting|flag|URL)": "is not a ..., invalid ...",
    r"(engine|server|program|hub|file|index|vLLM|Triton|OpenVINO|header|table|model)s? tells?": "reports, shows",
    r"wish(es|ed)?": "override, parameters, constraint",
}
"""Names of functions, classes and files must not hold these, under any spelling."""
FORBIDDEN_IN_NAMES = {r"(?<!s)wish": FORBIDDEN["wish(es|ed)?"], r"eldest": "oldest"}

_NAMES = re.compile("|".join(FORBIDDEN_IN_NAMES), re.IGNORECASE)
_PHRASES = re.compile(rf"\b(?:{'|'.join(FORBIDDEN)})\b".replace(" ", r"\s+"), re.IGNORECASE)

_SUFFIXES = {".md", ".yaml", ".yml", ".toml", ".html", ".js", ".css", ".json", ".cast", ".tpl", ".in", ".cfg", ".ini"}
_SCRIPTS = (".ci/", "images/", "deploy/")  # their files without a suffix are scripts and Dockerfiles
# Other people's words, and data rather than text.
_EXEMPT = (
    "tests/unit/code/test_words.py",  # quotes all of them
    "entrypoint/stoker/serve/operate/page/vendor/",  # libraries as published
    "tools/demo_model/grammar/",  # what the demo model was trained on
    "tests/unit/serve/recorded/",
)


def texts() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for path in listed.splitlines() if is_text(path) and (ROOT / path).is_file()]


def is_text(path: str) -> bool:
    if path.startswith(_EXEMPT):
        return False
    suffix = PurePosixPath(path).suffix
    return suffix in {*_SUFFIXES, ".py"} or (not suffix and (path == "Makefile" or path.startswith(_SCRIPTS)))


def faults(name: str, text: str) -> Iterator[str]:
    """What `text` says that the glossary forbids, one line each: the file, the line, the phrase and what to say."""
    python = name.endswith(".py")
    for first, piece in python_pieces(text) if python else [(1, text)]:
        yield from (f"{name}:{first + line}: {found}" for line, found in matches(piece, _PHRASES, FORBIDDEN))
    if python:
        yield from (f"{name}:{1 + line}: {found}" for line, found in matches(text, _NAMES, FORBIDDEN_IN_NAMES))


def matches(text: str, pattern: re.Pattern[str], phrases: dict[str, str]) -> Iterator[tuple[int, str]]:
    """How many lines into `text`, and what. The marks at the beginning of a line become blanks, as line breaks do."""
    plain = re.sub(r"\n[ \t]*(?:#+|//+|\*+|>|<!--)?[ \t]*", lambda found: "\n" + " " * (len(found[0]) - 1), text)
    for found in pattern.finditer(plain):
        said = " ".join(found[0].split())
        better = next(better for phrase, better in phrases.items() if re.search(phrase, said, re.IGNORECASE))
        yield plain.count("\n", 0, found.start()), f"'{said}'; say: {better}"


def python_pieces(source: str) -> Iterator[tuple[int, str]]:
    """Strings, those in pieces joined, and comments, those on consecutive lines joined, with their first lines."""
    tree = ast.parse(source)
    inner = {id(each) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for each in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values]
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.lineno, node.value
    yield from comments(source)


def comments(source: str) -> Iterator[tuple[int, str]]:
    block: list[str] = []
    first = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start[0] != first + len(block):
            yield first, "\n".join(block)
            block = []
        first = first if block else token.start[0]
        block.append(token.string)
    yield first, "\n".join(block)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.md", "It gives 80 tokens a second.\n", "a.md:1: 'tokens a second'"),
        ("a.md", "One.\nIt is next\n  to no work.\n", "a.md:2: 'next to no'"),
        ("a.yaml", "# all, but\n# for one\na: 1\n", "a.yaml:1: 'but for'"),
        ("a.py", 'x = (\n    "sequences at "\n    "once"\n)\n', "a.py:2: 'sequences at once'"),
        ("a.py", 'x = f"{1} bytes "\\\n  f"a token"\n', "a.py:1: 'bytes a token'"),
        ("a.py", "x = 1  # mends it\n", "a.py:1: 'mends'"),
        ("a.py", "# the process\n# is gone\nx = 1\n", "a.py:2: 'is gone'"),
        ("a.py", "def f(a_wish): ...\n", "a.py:1: 'wish'"),
        ("a.js", "/** What cannot\n * be had. */\n", "a.js:1: 'cannot be had'"),
    ],
)
def test_a_forbidden_phrase_is_found(name: str, text: str, found: str) -> None:
    (fault,) = faults(name, text)
    assert fault.startswith(found)


def test_code_and_longer_words_are_no_phrases() -> None:
    assert list(faults("a.py", "for eld in est: recommend(but, amend)\n")) == []
    assert list(faults("a.md", "We recommend and amend; what is ongoing.\n")) == []


def test_every_kind_of_text_is_read() -> None:
    listed = set(texts())
    assert {"README.md", "Makefile", ".ci/run", "images/stoker", "docs/settings.md"} <= listed
    assert any(path.startswith("entrypoint/stoker/serve/operate/page/") for path in listed)
    assert any(path.startswith(("profiles/", "deploy/")) for path in listed)


@pytest.mark.slow
@pytest.mark.parametrize("area", ["docs", "entrypoint", "tests", "tools", ""])
def test_texts_keep_to_the_glossary(area: str) -> None:
    known = ("docs/", "entrypoint/", "tests/", "tools/")
    chosen = [path for path in texts() if (path.startswith(f"{area}/") if area else not path.startswith(known))]
    found = [fault for path in chosen for fault in faults(path, (ROOT / path).read_text(encoding="utf-8"))]
    assert not found, "\n" + "\n".join(found)


def test_lines_of_the_readme_are_under_100_characters() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) >= 100] == []
