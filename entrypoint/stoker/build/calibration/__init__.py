"""The text that calibration runs through a model: the package's own, or the user's.

The text files beside this module were written for Stoker and are under its licence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import UnsupportedModelError, UsageError
from stoker.json_text import parse_json

PACKAGED = Path(__file__).parent
SUFFIXES = (".txt", ".md", ".jsonl")
FEWEST_TOKENS = 32


@dataclass(frozen=True)
class Text:
    """`source` is "package" or the user's path; `digest` the sha256 of all documents."""

    source: str
    documents: tuple[str, ...]
    digest: str


def read_text(path: Path | None = None) -> Text:
    """The package's text, or that of a .txt, .md or .jsonl file or a directory of them. Raises UsageError.

    A line of JSON is a string, an object with "text", or one with "messages" that each have "content".
    """
    documents = tuple(
        document for file in _files(path or PACKAGED) for document in _documents(file) if document.strip()
    )
    if not documents:
        raise UsageError(f"the calibration text {path} is empty", remedy="give a file with a few pages of text")
    digest = hashlib.sha256("\0".join(documents).encode())
    return Text(str(path) if path else "package", documents, digest.hexdigest())


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if not found:
        raise UsageError(
            f"no calibration text at {path}",
            why="it is neither a file nor a directory with .txt, .md or .jsonl files",
        )
    return found


def _documents(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the calibration text {file} cannot be read", why=str(error)) from error
    if file.suffix != ".jsonl":
        yield text
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield _line(line, f"{file}:{number}")


def _line(line: str, place: str) -> str:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise UsageError(f"{place} is not JSON", why=str(error)) from error
    if isinstance(value, dict):
        value = value["text"] if "text" in value else _contents(value.get("messages"))
    if not isinstance(value, str):
        raise UsageError(f"{place} holds no text", remedy='use {"text": "..."} or {"messages": [{"content": "..."}]}')
    return value


def _contents(messages: object) -> str | None:
    if not isinstance(messages, list):
        return None
    contents = [message.get("content") for message in messages if isinstance(message, dict)]
    return "\n".join(content for content in contents if isinstance(content, str))


def token_chunks(
    text: Text, model_directory: Path, samples: int, tokens: int, vocabulary_size: int = 1 << 31
) -> list[list[int]]:
    """Up to `samples` chunks of at most `tokens` ids, evenly taken from the whole text, each begun as the tokenizer
    begins a text. What the tokenizer has beyond `vocabulary_size` is left out. Raises UnsupportedModelError for a
    model without a usable tokenizer.json."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(model_directory / "tokenizer.json"))
    except Exception as error:  # tokenizers raises plain Exception
        raise UnsupportedModelError(
            "calibration needs the model's tokenizer.json", why=str(error), remedy="use --precision int4 or int8"
        ) from error
    beginning: list[int] = tokenizer.encode("", add_special_tokens=True).ids[:1]
    beginning = [id_ for id_ in beginning if id_ < vocabulary_size]
    ids: list[int] = []
    for document in text.documents:
        ids += tokenizer.encode(document, add_special_tokens=False).ids
    ids = [id_ for id_ in ids if id_ < vocabulary_size]
    if len(ids) < FEWEST_TOKENS:
        raise UsageError(f"the calibration text has only {len(ids)} tokens", remedy="give a few pages of text")
    body = min(tokens - len(beginning), len(ids))
    count = min(samples, len(ids) // body)
    step = (len(ids) - body) // max(1, count - 1)
    return [beginning + ids[start : start + body] for start in range(0, step * (count - 1) + 1, max(1, step))][:count]
