"""Trains the built-in demo model, tokenizer included, and writes it in the Hugging Face layout.

Plain PyTorch on the CPU; transformers is only used for the model's own code.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from corpus import MIXES, documents
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent
SPECIAL = ("<|pad|>", "<|bos|>", "<|eos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
VOCABULARY = 2048
HELD_OUT_SEED = 2
HELD_OUT_CHARACTERS = 400_000

# Sizes are multiples of 128, so that group-wise int4 divides them, and a head is 64 wide, which every paged
# attention kernel takes. The weights come to 7 MB in bf16.
ARCHITECTURE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
}
# The draft: the same tokenizer and context, an eighth of the weights. It guesses what the model will say next.
DRAFT = ARCHITECTURE | {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
SIZES = {"model": ARCHITECTURE, "draft": DRAFT}


@dataclass(frozen=True)
class Stage:
    """A part of the training: where it ends, as a share of the whole, and the shape of its batches."""

    until: float
    length: int
    batch: int


# Short sequences are cheap; the long ones at the end teach the positions that a long answer reaches.
STAGES = (Stage(0.75, 256, 16), Stage(0.9, 512, 8), Stage(1.0, 1024, 4))
STEP_TOKENS = 4096
# How much a token counts, by what it is part of: what people ask need not be learned as well as what to answer.
WEIGHTS = {"<|bos|>": 0.5, "<|system|>": 0.1, "<|user|>": 0.2, "<|assistant|>": 1.0}


@dataclass(frozen=True)
class Options:
    """What the command line chose."""

    out: Path
    start: Path | None
    tokenizer: Path | None
    size: str
    mix: str
    seed: int
    steps: int
    minutes: float
    rate: float
    checkpoint_every: int


def train_tokenizer() -> Tokenizer:
    """A byte-level BPE: every byte has a token, so that nothing is out of vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents(1, 4_000_000), trainer)
    bos = tokenizer.token_to_id("<|bos|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", pair="<|bos|> $A $B", special_tokens=[("<|bos|>", bos)]
    )
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Iterator[str], enough: int) -> torch.Tensor:
    """All documents end to end, until there are enough tokens."""
    parts: list[torch.Tensor] = []
    total = 0
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        parts.append(torch.tensor(ids, dtype=torch.int16))
        total += len(ids)
        if total >= enough:
            break
    return torch.cat(parts)


def batch_at(stream: torch.Tensor, step: int, progress: float) -> torch.Tensor:
    """The next piece of the stream, each token once, shaped as its stage says."""
    stage = next(stage for stage in STAGES if progress <= stage.until)
    piece = stream[step * STEP_TOKENS : (step + 1) * STEP_TOKENS]
    return piece.view(stage.batch, stage.length).long()


def schedule(step: int, progress: float) -> float:
    """Linear warm-up over 40 steps, then a cosine to almost nothing."""
    return min(1.0, (step + 1) / 40) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def loss_of(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each next token."""
    logits = model(input_ids=ids).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")


def weights_of(ids: torch.Tensor) -> torch.Tensor:
    """What each token after the first counts: it belongs to the last marker before or at it."""
    table = torch.zeros(VOCABULARY)
    for marker, weight in WEIGHTS.items():
        table[SPECIAL.index(marker)] = weight
    places = torch.arange(ids.shape[1]) * (table[ids] > 0)
    weights = table[ids.gather(1, places.cummax(1).values)]
    # A piece may begin in the middle of something, with no marker yet.
    return weights.masked_fill(weights == 0, WEIGHTS["<|bos|>"])[:, 1:].flatten()


@torch.no_grad()
def perplexity(model: LlamaForCausalLM, stream: torch.Tensor, length: int = 512) -> float:
    """On text that the training never saw, in blocks of 512."""
    model.eval()
    blocks = stream[: len(stream) // length * length].view(-1, length).long()
    losses = [loss_of(model, part).mean().item() * len(part) for part in blocks.split(16)]
    model.train()
    return math.exp(sum(losses) / len(blocks))


def optimizers_for(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers: it learns more from few tokens. AdamW for embeddings and norms."""
    layers = [weight for weight in model.model.layers.parameters() if weight.dim() == 2]
    norms = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [
        {"params": [model.model.embed_tokens.weight], "weight_decay": 0.05},
        {"params": norms, "weight_decay": 0.0},
    ]
    muon = torch.optim.Muon(layers, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(groups, betas=(0.9, 0.95))]


def update(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    """One step of all optimizers at this rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()


def train(model: LlamaForCausalLM, stream: torch.Tensor, options: Options, tokenizer: Tokenizer) -> None:
    """One pass over the stream, bf16 arithmetic with f32 weights, shortened where the minutes run out first."""
    optimizers = optimizers_for(model)
    began = time.monotonic()
    for step in range(options.steps):
        seconds = time.monotonic() - began
        progress = max(step / options.steps, seconds / 60 / options.minutes)
        if progress > 1:
            break
        with torch.autocast("cpu", torch.bfloat16):
            ids = batch_at(stream, step, progress)
            losses, weights = loss_of(model, ids), weights_of(ids)
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        update(optimizers, options.rate * schedule(step, progress))
        if step % 20 == 0:
            print(f"step {step} progress {progress:.3f} loss {loss.item():.3f} seconds {seconds:.0f}", flush=True)
        if step and step % options.checkpoint_every == 0:
            save(model, tokenizer, options.out, options.size)


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, out: Path, size: str) -> None:
    """The model directory, without its chat template and its card, which are files of their own."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: value.bfloat16().contiguous() for name, value in model.state_dict().items()}
    weights.pop("lm_head.weight")  # tied to the embeddings
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(out / "tokenizer.json"))
    stops = [tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("<|eos|>")]
    ids = {
        "bos_token_id": tokenizer.token_to_id("<|bos|>"),
        "eos_token_id": stops,
        "pad_token_id": tokenizer.token_to_id("<|pad|>"),
    }
    # Written by hand, in the spelling that every version of every reader knows.
    head = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "use_cache": True}
    write_json(out / "config.json", head | SIZES[size] | ids)
    write_json(out / "generation_config.json", ids | {"do_sample": True, "temperature": 0.7, "top_p": 0.95})
    write_json(out / "tokenizer_config.json", tokenizer_config())
    (out / "chat_template.jinja").write_text((HERE / "chat_template.jinja").read_text())


def tokenizer_config() -> dict[str, object]:
    """What transformers wants to know beyond tokenizer.json."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "model_max_length": ARCHITECTURE["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
    }


def write_json(path: Path, value: dict[str, object]) -> None:
    """JSON as people write it."""
    path.write_text(json.dumps(value, indent=2) + "\n")


def parse() -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the model directory to write")
    parser.add_argument("--start", type=Path, help="go on from this model directory instead of from nothing")
    parser.add_argument("--tokenizer", type=Path, help="a model directory whose tokenizer to keep")
    parser.add_argument("--size", choices=list(SIZES), default="model", help="which of the two to train from nothing")
    parser.add_argument("--mix", choices=list(MIXES), default="broad", help="what the text consists of")
    parser.add_argument("--seed", type=int, default=1, help=f"of text and weights, not {HELD_OUT_SEED}")
    parser.add_argument("--steps", type=int, default=2000, help="of 4096 tokens each, at most")
    parser.add_argument("--minutes", type=float, default=60, help="end here even if steps are left")
    parser.add_argument("--rate", type=float, default=5e-3, help="the highest learning rate")
    parser.add_argument("--checkpoint-every", type=int, default=200, help="steps between saves")
    return Options(**vars(parser.parse_args()))


def begin(options: Options) -> tuple[LlamaForCausalLM, Tokenizer]:
    """A new model and tokenizer, or those to go on from."""
    if options.start is None:
        known = options.tokenizer
        tokenizer = Tokenizer.from_file(str(known / "tokenizer.json")) if known else train_tokenizer()
        return LlamaForCausalLM(LlamaConfig(**SIZES[options.size])), tokenizer
    model = LlamaForCausalLM.from_pretrained(options.start, dtype=torch.float32)
    return model, Tokenizer.from_file(str(options.start / "tokenizer.json"))


def main() -> None:
    """Tokenizer, text, model, training, held-out perplexity."""
    options = parse()
    torch.manual_seed(options.seed)
    torch.set_num_threads(2)
    model, tokenizer = begin(options)
    held_out = {mix: list(documents(HELD_OUT_SEED, HELD_OUT_CHARACTERS, mix=mix)) for mix in MIXES}
    skip = frozenset(text for texts in held_out.values() for text in texts)
    wanted = options.steps * STEP_TOKENS
    stream = encode(tokenizer, documents(options.seed, wanted * 8, skip, options.mix), wanted)
    print(f"{model.num_parameters()} parameters, {len(stream)} tokens", flush=True)
    train(model, stream, options, tokenizer)
    save(model, tokenizer, options.out, options.size)
    model.load_state_dict({name: value.bfloat16().float() for name, value in model.state_dict().items()})
    for mix, texts in held_out.items():
        ids = encode(tokenizer, iter(texts), HELD_OUT_CHARACTERS)
        print(f"held-out perplexity, {mix} mix: {perplexity(model, ids):.3f} on {len(ids)} tokens", flush=True)


if __name__ == "__main__":
    main()
