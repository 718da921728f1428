"""Trains an EAGLE-3 head for the demo model: `python head.py --out DIRECTORY`.

The head sees what the model computed for a token, and the token that came next, and guesses the one after it. Its
target is the model's own distribution; its second pass is given its own output in place of the model's, as it is when
it guesses several tokens in a row. Layout and names are those of published heads.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from corpus import documents
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn
from train import encode
from transformers import LlamaForCausalLM

MODEL = Path(__file__).parents[2] / "entrypoint/stoker/resolve/demo"
LAYERS = (1, 3, 5)  # the head sees the hidden states that go into these
VOCABULARY = 1024  # the most frequent tokens: the head guesses no other
BATCH, LENGTH = 16, 256
CONFIG = {
    "architectures": ["LlamaForCausalLMEagle3"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "vocab_size": 2048,
    "draft_vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": [6, 2],
    "pad_token_id": 0,
    "eagle_config": {"eagle_aux_hidden_state_layer_ids": list(LAYERS), "use_aux_hidden_state": True},
}


class Attention(nn.Module):
    """Over the embedding and the hidden state side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(512, 256, bias=False)
        self.k_proj = nn.Linear(512, 128, bias=False)
        self.v_proj = nn.Linear(512, 128, bias=False)
        self.o_proj = nn.Linear(256, 256, bias=False)

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        def heads(y: torch.Tensor, count: int) -> torch.Tensor:
            return y.view(*y.shape[:2], count, 64).transpose(1, 2)

        query, key = (_turned(heads(p(x), n), cosine, sine) for p, n in ((self.q_proj, 4), (self.k_proj, 2)))
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, heads(self.v_proj(x), 2), is_causal=True, enable_gqa=True
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(256, 384, bias=False)
        self.up_proj = nn.Linear(256, 384, bias=False)
        self.down_proj = nn.Linear(384, 256, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm, self.hidden_norm, self.post_attention_layernorm = (
            nn.RMSNorm(256, eps=1e-5) for _ in range(3)
        )
        self.self_attn, self.mlp = Attention(), Mlp()

    def forward(self, embedded: torch.Tensor, hidden: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]):
        both = torch.cat([self.input_layernorm(embedded), self.hidden_norm(hidden)], -1)
        hidden = hidden + self.self_attn(both, *turn)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 256, 256, bias=False)
        self.midlayer = Layer()
        self.norm = nn.RMSNorm(256, eps=1e-5)
        self.lm_head = nn.Linear(256, VOCABULARY, bias=False)

    def forward(self, embedded: torch.Tensor, hidden: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]):
        """Logits, and the hidden states that a next guess starts from."""
        hidden = self.midlayer(embedded, hidden, turn)
        return self.lm_head(self.norm(hidden)), hidden


def turns(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    frequencies = 10000.0 ** (-torch.arange(0, 64, 2) / 64)
    angles = torch.outer(torch.arange(length), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def _turned(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    low, high = x.chunk(2, -1)
    return x * cosine + torch.cat([-high, low], -1) * sine


def train(head: Head, model: LlamaForCausalLM, stream: torch.Tensor, known: torch.Tensor, minutes: float) -> None:
    """Until the minutes or the text run out."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, betas=(0.9, 0.95))
    began, steps = time.monotonic(), len(stream) // (BATCH * LENGTH)
    turn = turns(LENGTH - 1)
    for step in range(steps):
        progress = max(step / steps, (time.monotonic() - began) / 60 / minutes)
        if progress > 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 20) * max(0.02, 1 - progress)
        ids = stream[step * BATCH * LENGTH : (step + 1) * BATCH * LENGTH].view(BATCH, LENGTH).long()
        with torch.no_grad():
            found = model(input_ids=ids, output_hidden_states=True)
            features = torch.cat([found.hidden_states[layer] for layer in LAYERS], -1)[:, :-1]
            wanted = found.logits[:, 1:].softmax(-1)[..., known]
            right = found.logits[:, 1:].argmax(-1)
            embedded = model.model.embed_tokens(ids[:, 1:])
        loss, kept = torch.zeros(()), []
        hidden = head.fc(features)
        for _ in range(2):
            logits, after = head(embedded, hidden, turn)
            loss = loss - (wanted * logits.log_softmax(-1)).sum(-1).mean()
            kept.append((known[logits.argmax(-1)] == right).float().mean().item())
            hidden = torch.cat([hidden[:, :1], after[:, :-1]], 1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            print(f"step {step} of {steps} loss {loss.item():.3f} first and second guess right {kept}", flush=True)


def save(head: Head, known: torch.Tensor, out: Path) -> None:
    """`d2t` is what to add to a token of the head to have the model's, `t2d` which of the model's the head has."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: value.bfloat16().contiguous() for name, value in head.state_dict().items()}
    weights["d2t"] = known - torch.arange(VOCABULARY)
    weights["t2d"] = torch.zeros(2048, dtype=torch.bool).index_fill(0, known, True)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    torch.manual_seed(3)
    model = LlamaForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    stream = encode(tokenizer, documents(3, 8_000_000, mix="talk"), 2_000_000)
    known = torch.bincount(stream.long(), minlength=2048).topk(VOCABULARY).indices.sort().values
    head = Head()
    train(head, model, stream, known, options.minutes)
    save(head, known, options.out)


if __name__ == "__main__":
    main()
