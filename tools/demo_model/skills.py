"""Exchanges whose answers are computed: sums, counting, spelling, lists. Each gives turns, user first."""

from __future__ import annotations

import json
from collections.abc import Callable

from grammar import Writer

LISTS = {
    "fruits": "fruits",
    "animals": "animal",
    "colours": "colour",
    "vegetables": "vegetable",
    "jobs": "job",
    "places": "place",
    "names": "name",
    "drinks": "drink",
    "hobbies": "hobby",
    "seasons": "season",
    "things": "object",
}
Turns = list[str]


def joined(items: list[str]) -> str:
    """Items in words: "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _number(writer: Writer, value: int, in_words: bool) -> str:
    return writer.grammar.sections["numeral"][value] if in_words else str(value)


def add(writer: Writer) -> Turns:
    """A sum of two numbers up to ten."""
    rng = writer.rng
    one, two, words = rng.randint(0, 10), rng.randint(0, 10), rng.random() < 0.3
    first, second, total = (_number(writer, value, words) for value in (one, two, one + two))
    sign = "plus" if words else rng.choice(["+", "plus", "and"])
    ask = rng.choice(["What is {}?", "How much is {}?", "Calculate {}.", "{} = ?", "What's {}?"])
    answer = rng.choice([f"{first} plus {second} is {total}.", f"The answer is {total}.", f"{total}."])
    return [ask.format(f"{first} {sign} {second}"), answer[:1].upper() + answer[1:]]


def subtract(writer: Writer) -> Turns:
    """A difference that stays above zero."""
    rng = writer.rng
    one = rng.randint(0, 12)
    two = rng.randint(0, one)
    sign = rng.choice(["-", "minus", "take away"])
    answer = rng.choice([f"{one} minus {two} is {one - two}.", f"The answer is {one - two}."])
    return [f"{rng.choice(['What is', 'How much is'])} {one} {sign} {two}?", answer]


def multiply(writer: Writer) -> Turns:
    """The small multiplication table."""
    rng = writer.rng
    one, two = rng.randint(0, 10), rng.randint(0, 10)
    sign = rng.choice(["times", "x", "*", "multiplied by"])
    answer = rng.choice([f"{one} times {two} is {one * two}.", f"The answer is {one * two}."])
    return [f"{rng.choice(['What is', 'How much is'])} {one} {sign} {two}?", answer]


def apples(writer: Writer) -> Turns:
    """A sum told as a small story."""
    rng = writer.rng
    who, what = writer.pick("name"), writer.pick("fruits")
    one, two = rng.randint(2, 9), rng.randint(1, 5)
    if rng.random() < 0.5:
        return [
            f"{who} has {one} {what} and gets {two} more. How many {what} does {who} have?",
            f"{who} has {one + two} {what}, because {one} plus {two} is {one + two}.",
        ]
    one += two + 1  # so that more than one is left
    return [
        f"{who} has {one} {what} and eats {two}. How many are left?",
        f"{one - two} {what} are left, because {one} minus {two} is {one - two}.",
    ]


def count(writer: Writer) -> Turns:
    """Counting, up or down, in digits or words."""
    rng = writer.rng
    start = rng.choice([1, 1, 1, rng.randint(2, 10)])
    stop = min(start + rng.randint(2, 10), 20)
    words = rng.random() < 0.4
    numbers = [_number(writer, value, words) for value in range(start, stop + 1)]
    if rng.random() < 0.2:
        ask = f"Count down from {stop} to {start}."
        return [ask, ", ".join(reversed(numbers)).capitalize() + "."]
    asks = [f"Count from {start} to {stop}."]
    if start == 1:
        asks += [f"Count to {stop}.", f"Can you count to {_number(writer, stop, True)}?", f"Please count to {stop}."]
    return [rng.choice(asks), ", ".join(numbers).capitalize() + "."]


def after(writer: Writer) -> Turns:
    """The day, month, number or letter before or after another."""
    rng = writer.rng
    kind, section = rng.choice((("day", "day"), ("month", "month"), ("number", "numeral"), ("letter", "letter")))
    items = writer.grammar.sections[section]
    place = rng.randrange(1, len(items))
    pair = [("after", items[place - 1], items[place]), ("before", items[place], items[place - 1])]
    side, known, wanted = rng.choice(pair)
    asks = [f"Which {kind} comes {side} {known}?", f"What {kind} is {side} {known}?", f"What comes {side} {known}?"]
    begin = wanted[:1].upper() + wanted[1:]
    return [rng.choice(asks), rng.choice([f"{begin} comes {side} {known}.", f"It is {wanted}."])]


def spell(writer: Writer) -> Turns:
    """Letters of a word: spelling, the first letter, the number of letters."""
    word = writer.pick(writer.rng.choice(["animal", "fruit", "colour", "object", "place", "pet"]))
    letters = "-".join(word.upper())
    first = f"The first letter of {word} is {word[0].upper()}."
    return writer.rng.choice(
        [
            [f"Spell {word}.", letters],
            [f"How do you spell {word}?", f"{word.capitalize()} is spelled {letters}."],
            [f'Spell the word "{word}".', letters],
            [f"What is the first letter of {word}?", first],
            [f"Which letter does {word} begin with?", f"{word.capitalize()} begins with {word[0].upper()}."],
        ]
    )


def list_things(writer: Writer) -> Turns:
    """So many things of a kind, as a sentence, a numbered list or JSON."""
    rng = writer.rng
    kind, section = rng.choice(list(LISTS.items()))
    amount = rng.randint(2, 4 if kind == "seasons" else 5)
    items = rng.sample(writer.grammar.sections[section], amount)
    word = _number(writer, amount, rng.random() < 0.7)
    ask = rng.choice(["Name {} {}.", "List {} {}.", "Give me {} {}.", "Can you name {} {}?", "Tell me {} {}."])
    style = rng.random()
    if style < 0.25:
        lines = "\n".join(f"{place}. {item.capitalize()}" for place, item in enumerate(items, 1))
        return [f"Make a list of {word} {kind}.", lines]
    if style < 0.4:
        return [f"Give me a JSON list of {word} {kind}.", json.dumps(items)]
    text = joined(items)
    return [ask.format(word, kind), rng.choice([f"{text[:1].upper()}{text[1:]}.", f"Here are {word} {kind}: {text}."])]


def person_json(writer: Writer) -> Turns:
    """A small record as JSON, so that structured output has something to lean on."""
    who, age, job = writer.pick("name"), writer.rng.randint(5, 80), writer.pick("job")
    record = {"name": who, "age": age, "job": job}
    ask = writer.rng.choice(
        [
            f"Give me a JSON object for {who}, a {job} who is {age} years old.",
            f"Write this as JSON: {who} is a {job} and is {age} years old.",
            f"{who} is {age} years old and works as a {job}. Answer in JSON.",
        ]
    )
    return [ask, json.dumps(record)]


def repeat(writer: Writer) -> Turns:
    """Saying something back, which teaches the model to copy."""
    rng = writer.rng
    text = rng.choice(
        [
            f"the {writer.pick('adjective')} {writer.pick('animal')} sees the {writer.pick('object')}",
            f"{writer.pick('name')} likes {writer.pick('hobby')}",
            f"{writer.pick('colour')} {writer.pick('object')}",
            " ".join(rng.sample(writer.grammar.sections["object"], 3)),
            writer.pick("animal"),
            writer.pick("name"),
        ]
    )
    ask = rng.choice(["Repeat after me: {}", "Say: {}", "Repeat: {}", 'Say "{}".', "Please say {}.", "Echo {}"])
    return [ask.format(text), text[:1].upper() + text[1:] + ("." if " " in text else "!")]


def remember(writer: Writer) -> Turns:
    """A fact given in the question, asked for at its end or in the next turn."""
    rng = writer.rng
    who, what, colour, where = (writer.pick(kind) for kind in ("name", "object", "colour", "place"))
    fact = f"{who} has a {colour} {what} and lives near the {where}."
    question, answer = rng.choice(
        [
            (f"What colour is the {what}?", f"The {what} is {colour}."),
            (f"What does {who} have?", f"{who} has a {colour} {what}."),
            (f"Where does {who} live?", f"{who} lives near the {where}."),
            (f"Who has a {what}?", f"{who} has a {what}."),
        ]
    )
    if rng.random() < 0.5:
        return [f"{fact} {question}", answer]
    return [fact, rng.choice(["I see.", "All right, I will remember that.", f"{who} sounds nice."]), question, answer]


def compare(writer: Writer) -> Turns:
    """Which of two small numbers is larger."""
    rng = writer.rng
    one, two = rng.sample(range(21), 2)
    if rng.random() < 0.5:
        return [f"Which is bigger, {one} or {two}?", f"{max(one, two)} is bigger than {min(one, two)}."]
    return [f"Which is smaller, {one} or {two}?", f"{min(one, two)} is smaller than {max(one, two)}."]


def too_large(writer: Writer) -> Turns:
    """Sums beyond what was learned by heart: better to say so."""
    rng = writer.rng
    one, two = rng.randint(21, 9999), rng.randint(11, 9999)
    ask = rng.choice(["What is {}?", "How much is {}?", "Calculate {}."])
    lead = rng.choice(["I am sorry.", "That is a large sum.", "I can only do small sums."])
    rest = rng.choice(["Please use a calculator.", "That is too large for me.", "A larger model can do more."])
    return [
        ask.format(f"{one} {rng.choice(['+', '-', '*', '/', 'plus', 'times', 'divided by'])} {two}"),
        f"{lead} {rest}",
    ]


SKILLS: tuple[Callable[[Writer], Turns], ...] = (
    add, add, add, subtract, subtract, multiply, multiply, apples, count, count, after, after, spell,
    list_things, list_things, person_json, repeat, repeat, repeat, remember, remember, remember, compare, too_large,
)  # fmt: skip
