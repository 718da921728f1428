"""A small text grammar: sections of alternatives, expanded at random.

A grammar file is plain text, so that the word lists stay data:

    @animal          starts a section; each following line is one alternative
    cat
    dog
    @@capital country city      starts a table; each line is a row, columns parted by |
    France | Paris

Inside a line, `[a|b|]` chooses one part, `{animal}` expands a section, `{pet=animal}` also remembers
the result as `pet`, `{pet}` then repeats it, `{^pet}` repeats it with a capital, and `{!capital}` picks a row and
remembers its columns. `{!pet=animal}` remembers without writing, and `{?pet=animal}` does so only where `pet` is
not yet known. A line starting with # is a comment.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

CHOICE = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{([^{}]*)\}")
# "a" before a vowel sound: the lists do not know which word follows them.
ARTICLE = re.compile(r"\b([Aa]) (?=hones|hour|[aeiouAEIOU](?!ni[cft]|se|ne\b))")
# Braces and brackets are the grammar's own signs, so text that needs them spells them with these.
LITERALS = str.maketrans({"‹": "{", "›": "}", "⟦": "[", "⟧": "]"})

Row = dict[str, str]


def with_articles(text: str) -> str:
    """The text with "an" before a vowel."""
    return ARTICLE.sub(r"\1n ", text)


@dataclass
class Grammar:
    """Sections and tables read from the grammar files."""

    sections: dict[str, list[str]] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Grammar:
        """Read every grammar file of a folder, in name order, so that a seed always gives the same text."""
        grammar = cls()
        for path in sorted(folder.glob("*.txt")):
            grammar._read(path.read_text(encoding="utf-8").splitlines())
        return grammar

    def _read(self, lines: list[str]) -> None:
        section: list[str] = []
        table: list[Row] = []
        columns: list[str] = []
        for line in (raw.strip() for raw in lines):
            if not line or line.startswith("#"):
                continue
            if line.startswith("@@"):
                name, *columns = line[2:].split()
                table = self.tables.setdefault(name, [])
            elif line.startswith("@"):
                columns = []
                section = self.sections.setdefault(line[1:], [])
            elif columns:
                cells = [cell.strip() for cell in line.split("|")]
                table.append(dict(zip(columns, cells, strict=True)))
            else:
                section.append(line)


class Writer:
    """Expands templates with one random source; `memory` holds what this document has fixed so far."""

    def __init__(self, grammar: Grammar, rng: random.Random) -> None:
        self.grammar = grammar
        self.rng = rng
        self.memory: dict[str, str] = {}

    def forget(self) -> None:
        """Start a new document."""
        self.memory = {}

    def pick(self, section: str) -> str:
        """One unexpanded alternative of a section."""
        return self.rng.choice(self.grammar.sections[section])

    def row(self, table: str) -> Row:
        """One row of a table."""
        return self.rng.choice(self.grammar.tables[table])

    def write(self, template: str) -> str:
        """Expand a template and tidy its articles and line breaks."""
        text = self._expand(template).replace("\\n", "\n")
        return re.sub(r" {2,}", " ", with_articles(text)).translate(LITERALS).strip()

    def _expand(self, template: str) -> str:
        while CHOICE.search(template):
            template = CHOICE.sub(lambda found: self.rng.choice(found[1].split("|")), template)
        return SLOT.sub(lambda found: self._slot(found[1]), template)

    def _slot(self, slot: str) -> str:
        if slot[0] in "!?":
            self._remember(slot)
            return ""
        if slot.startswith("^"):
            text = self._slot(slot[1:])
            return text[:1].upper() + text[1:]
        name, _, source = slot.partition("=")
        if source:
            self.memory[name] = self._expand(self.pick(source))
            return self.memory[name]
        if name in self.memory:
            return self.memory[name]
        return self._expand(self.pick(name))

    def _remember(self, slot: str) -> None:
        name, _, source = slot[1:].partition("=")
        if not source:
            self.memory.update(self.row(name))
        elif slot[0] == "!" or name not in self.memory:
            self.memory[name] = self._expand(self.pick(source))
