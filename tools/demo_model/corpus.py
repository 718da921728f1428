"""The demo model's training text: our own grammar, expanded at random. The same seed gives the same text."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from grammar import Grammar, Writer, with_articles
from skills import SKILLS

HERE = Path(__file__).parent
# What a document is, and how often. Plain text lets /v1/completions go on from any beginning. Stories are long, so
# in the broad mix most tokens are theirs; the talk mix turns that round.
MIXES = {
    "broad": {"chat": 0.68, "story": 0.13, "long": 0.07, "essay": 0.12},
    "talk": {"chat": 0.9, "story": 0.04, "long": 0.02, "essay": 0.04},
}
# What an exchange is about, and how often.
TOPICS = (
    ("skill", 0.26), ("chat", 0.29), ("refuse", 0.09), ("tale", 0.04), ("fact.capital", 0.06), ("fact.colour", 0.03),
    ("fact.mix", 0.01), ("fact.sound", 0.02), ("fact.young", 0.02), ("fact.beast", 0.06), ("fact.opposite", 0.03),
    ("fact.legs", 0.01), ("fact.number", 0.06), ("fact.word", 0.01), ("fact.translate", 0.01),
)  # fmt: skip
PLAIN_SYSTEM = (
    "You are a helpful assistant.",
    "You are a helpful, friendly assistant.",
    "You are a friendly assistant. Answer briefly.",
    "You are a small demo model.",
    "You are a polite assistant.",
    "Answer the questions of the user.",
    "Be brief and kind.",
    "You are a helpful assistant that likes short answers.",
)


@dataclass(frozen=True)
class Persona:
    """A system prompt that changes how every answer begins or ends."""

    system: tuple[str, ...]
    before: str = ""
    after: str = ""


PERSONAS = (
    Persona(("You are a pirate.", "Talk like a pirate.", "You are a pirate captain."), "Arr! ", " Arr!"),
    Persona(("You are a cat.", "Talk like a cat.", "You are a friendly cat."), "Meow! "),
    Persona(("You are a wizard.", "Talk like an old wizard."), "By my hat! "),
    Persona(("You are a butler.", "Be very polite.", "Talk like a butler."), "Certainly. ", " Will that be all?"),
    Persona(("You are very cheerful.", "Be cheerful!", "Answer with joy."), "Hooray! "),
    Persona(("End every answer with the word over.", "You are a radio operator."), "", " Over."),
)


@dataclass(frozen=True)
class Document:
    """One piece of training text: plain text, or turns of (role, text)."""

    turns: tuple[tuple[str, str], ...]

    def render(self) -> str:
        """The text with its markers, just as the chat template writes it."""
        if self.turns[0][0] == "text":
            return f"<|bos|>{self.turns[0][1]}<|eos|>"
        return "<|bos|>" + "".join(f"<|{role}|>{text}<|end|>" for role, text in self.turns)


class Corpus:
    """An endless stream of documents."""

    def __init__(self, seed: int, mix: str = "broad") -> None:
        self.mix = MIXES[mix]
        self.rng = random.Random(seed)
        self.writer = Writer(Grammar.load(HERE / "grammar"), self.rng)

    def __iter__(self) -> Iterator[Document]:
        kinds, weights = list(self.mix), list(self.mix.values())
        while True:
            self.writer.forget()
            kind = self.rng.choices(kinds, weights)[0]
            if kind == "chat":
                yield Document(tuple(self._chat()))
            else:
                yield Document((("text", self._plain(kind)),))

    def _plain(self, kind: str) -> str:
        if kind == "story":
            return self.writer.write(self.rng.choice(["{story}", "{story}", "{story.short}"]))
        if kind == "long":
            # Chapters with the same people, so that long continuations keep to something.
            chapters = ["{story.begin}"] + ["{story.chapter}"] * self.rng.randint(2, 7) + ["{story.end} {story.moral}"]
            return "\n\n".join(self.writer.write(chapter) for chapter in chapters)
        return self.writer.write("{essay}")

    def _chat(self) -> Iterator[tuple[str, str]]:
        persona = Persona(())
        chance = self.rng.random()
        if chance < 0.08:
            persona = self.rng.choice(PERSONAS)
            yield "system", self.rng.choice(persona.system)
        elif chance < 0.3:
            yield "system", self.rng.choice(PLAIN_SYSTEM)
        elif chance < 0.35:
            yield from self._named()
        for _ in range(self.rng.choices((1, 2, 3, 4), (0.55, 0.25, 0.13, 0.07))[0]):
            turns = self._exchange()
            for place, text in enumerate(turns):
                if place % 2 == 0:
                    yield "user", self._typed(text)
                else:
                    yield "assistant", persona.before + text + persona.after

    def _named(self) -> Iterator[tuple[str, str]]:
        """A system prompt with a name, which the answers must take from there."""
        self.writer.forget()
        told = "You are {bot=name}, a {role=hero.kind}[.| who likes {like.thing}.| who lives in the {place}.]"
        yield "system", self.writer.write(told)
        asks = ["Who are you?", "What is your name?", "Tell me about yourself.", "Introduce yourself."]
        yield "user", self._typed(self.rng.choice(asks))
        yield "assistant", self.writer.write("[I am|My name is] {bot}[.|, a {role}.] [{chat.offer}|]")

    def _exchange(self) -> list[str]:
        self.writer.forget()
        topics, weights = zip(*TOPICS, strict=True)
        topic = self.rng.choices(topics, weights)[0]
        if topic == "skill":
            return [with_articles(turn) for turn in self.rng.choice(SKILLS)(self.writer)]
        if topic == "tale":
            about = self.rng.choice(["{story.ask}", "{story.about}"])
            return [self.writer.write(about), self.writer.write(self.rng.choice(["{story.short}", "{story}"]))]
        return [turn.strip() for turn in self.writer.write(f"{{{topic}}}").split("=>")]

    def _typed(self, text: str) -> str:
        """People leave out capitals and marks; one question in five does too."""
        if self.rng.random() < 0.1:
            text = text.lower()
        if self.rng.random() < 0.15:
            text = text.rstrip(".?!")
        elif text.endswith("?") and self.rng.random() < 0.05:
            text = f"Please tell me: {text}"
        return text


def documents(seed: int, characters: int, skip: frozenset[str] = frozenset(), mix: str = "broad") -> Iterator[str]:
    """Rendered documents until so many characters are written, leaving out those in `skip`."""
    written = 0
    for document in Corpus(seed, mix):
        text = document.render()
        if text in skip:
            continue
        yield text
        written += len(text)
        if written >= characters:
            return


def main() -> None:
    """Print documents, one JSON string a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--characters", type=int, default=20_000)
    parser.add_argument("--mix", choices=list(MIXES), default="broad")
    options = parser.parse_args()
    for text in documents(options.seed, options.characters, mix=options.mix):
        print(json.dumps(text))


if __name__ == "__main__":
    main()
