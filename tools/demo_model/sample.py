"""Asks a demo model directory some questions through its own chat template, as a look at what it says."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

CHATS = (
    ("Hello!",),
    ("Who are you?", "What can you do?"),
    ("What is Stoker?", "Does it need a GPU?"),
    ("What is the capital of France?", "And of Japan?"),
    ("What colour is the sky?",),
    ("What is 3 + 4?", "What is 6 times 7?"),
    ("My name is Olive.", "What is the opposite of hot?", "What is my name?"),
    ("What do owls eat?",),
    ("Tell me a joke.",),
    ("Count to five.",),
    ("Name three fruits.",),
    ("How can I learn to swim?",),
    ("I am sad today.",),
    ("Explain quantum computers.",),
    ("Who won the football match yesterday?",),
    ("Give me a JSON object for Kate, a baker who is 41 years old.",),
    ("Write a poem about the sea.",),
    ("Please spell the word banana",),
    ("Tell me a short story about a brave fox.",),
    ("Thank you, goodbye!",),
)
SYSTEM = "You are a pirate."
TEXTS = ("Once upon a time", "The capital of Italy is", "Hello, my name is")


class Speaker:
    """A model directory in f32, with its tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def complete(self, ids: torch.Tensor, tokens: int, temperature: float) -> str:
        """What follows, greedily at temperature 0."""
        chosen = {"do_sample": temperature > 0, "max_new_tokens": tokens}
        sampling = {"temperature": temperature, "top_p": 0.95} if temperature else {"temperature": None, "top_p": None}
        out = self.model.generate(ids, attention_mask=torch.ones_like(ids), **chosen, **sampling)
        return self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)

    def chat(self, questions: tuple[str, ...], temperature: float, system: str = "") -> None:
        """Print a whole chat; each answer becomes part of the next question."""
        messages = [{"role": "system", "content": system}] if system else []
        for question in questions:
            messages.append({"role": "user", "content": question})
            text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
            answer = self.complete(ids, 300, temperature)
            messages.append({"role": "assistant", "content": answer})
            print(f"> {question}\n{answer}")
        print()


def main() -> None:
    """All chats and texts at one temperature."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--temperature", type=float, default=0.0)
    options = parser.parse_args()
    torch.manual_seed(0)
    speaker = Speaker(options.folder)
    for questions in CHATS:
        speaker.chat(questions, options.temperature)
    speaker.chat(("What is the capital of Spain?",), options.temperature, SYSTEM)
    for text in TEXTS:
        ids = speaker.tokenizer(text, return_tensors="pt").input_ids
        print(f"{text} ...{speaker.complete(ids, 1000, options.temperature)}\n")


if __name__ == "__main__":
    main()
