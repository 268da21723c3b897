"""Tiny Shakespeare, character by character: a GPT of 4 layers, in a few minutes on two CPU cores.

The size is that of nanoGPT's CPU configuration: 4 layers, 4 heads, width 128, 64 characters at a time, batches of 12,
2,000 iterations. The reported loss is the mean over every character of the validation split, not over a sample of it.

    weft train shakespeare
    weft generate runs/shakespeare-1 --prompt "ROMEO:"
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import weft
from weft import nn
from weft.data import CharVocabulary, DataLoader, Dataset, Windows, tiny_shakespeare
from weft.nn import functional as F
from weft.optim import AdamW, CosineAnnealingLR, LinearLR, SequentialLR
from weft.random import Generator
from weft.recipes.common import Run
from weft.train import Trainer

BLOCK, BATCH, ITERATIONS_PER_EPOCH = 64, 12, 200


class Block(nn.Module):
    """A transformer layer: what each position reads from those before it, and what it makes of that."""

    def __init__(self, width: int, heads: int, layers: int):
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        for linear in (self.qkv, self.up):
            nn.init.normal_(linear.weight, std=0.02)
        for linear in (self.out, self.down):  # 2 * layers of these are summed up on the way
            nn.init.normal_(linear.weight, std=0.02 / math.sqrt(2 * layers))

    def forward(self, x: Any) -> Any:
        B, T, C = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(B, T, 3, self.heads, C // self.heads)
        q, k, v = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))  # (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.swapaxes(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Tokens (B, T) -> scores of the next token at each position, (B, T, vocabulary)."""

    def __init__(self, vocabulary: int, width: int, heads: int, layers: int):
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(BLOCK, width)
        self.blocks = nn.Sequential(*[Block(width, heads, layers) for _ in range(layers)])
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for table in (self.token, self.position, self.head):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Any) -> Any:
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


class RandomWindows(Dataset):
    """Stretches of BLOCK characters from anywhere in the text, and the same one further on: new ones each epoch."""

    def __init__(self, tokens: Any, samples: int):
        self.windows, self.samples = Windows(tokens, BLOCK), samples

    def __len__(self) -> int:
        return self.samples

    def get(self, i: int, rng: Any) -> Any:
        return self.windows[int(rng.integers_array(0, len(self.windows)))]


def build(vocabulary: int = 65, width: int = 128, heads: int = 4, layers: int = 4) -> GPT:
    return GPT(vocabulary, width, heads, layers)


def example() -> tuple[dict[str, Any], Any]:
    """Inputs for an export, and their dynamic axes: texts of up to BLOCK characters."""
    return {"tokens": np.arange(2 * BLOCK).reshape(2, BLOCK) % 10}, {"tokens": {0: "batch", 1: "time"}}


def loss(scores: Any, targets: Any, reduction: str = "mean") -> Any:
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), targets.reshape(-1), reduction=reduction)


def loss_of_all(model: GPT, tokens: Any, batch: int = 64) -> float:
    """The mean loss over every token but the first, in stretches of BLOCK; the last one may be shorter."""
    whole = (len(tokens) - 1) // BLOCK * BLOCK
    x, y = tokens[:whole].reshape(-1, BLOCK), tokens[1 : whole + 1].reshape(-1, BLOCK)
    parts = [(x[i : i + batch], y[i : i + batch]) for i in range(0, len(x), batch)]
    if whole < len(tokens) - 1:
        parts.append((tokens[None, whole:-1], tokens[None, whole + 1 :]))
    model.eval()
    device, total = next(model.parameters()).device, 0.0
    with weft.no_grad():
        for a, b in parts:
            scores = model(weft.asarray(a, device=device))
            total += loss(scores, weft.asarray(b, device=device), reduction="sum").item()
    return total / (len(tokens) - 1)


def generate(
    model: GPT,
    settings: dict[str, Any],
    prompt: str,
    length: int = 400,
    temperature: float = 0.8,
    seed: int = 0,
) -> str:
    """The prompt and `length` characters that the model writes after it."""
    vocabulary, rng = CharVocabulary(settings["characters"]), Generator(seed)
    device = next(model.parameters()).device
    tokens = vocabulary.encode(prompt or "\n")
    with weft.no_grad():
        for draw in rng.uniform_array(length):
            scores = model(weft.asarray(tokens[None, -BLOCK:], device=device)).numpy()[0, -1].astype(np.float64)
            shares = np.exp((scores - scores.max()) / max(temperature, 1e-6))
            chosen = np.searchsorted(shares.cumsum(), draw * shares.sum(), side="right")
            tokens = np.append(tokens, min(int(chosen), len(vocabulary) - 1))
    return vocabulary.decode(tokens)


def run(
    device: str | None = None,
    epochs: int = 10,
    seed: int = 0,
    data: str | None = None,
    out: str = "runs",
    resume: bool = False,
    steps: int | None = None,
    autocast: str | None = None,
) -> dict[str, Any]:
    text = tiny_shakespeare(data)
    shape = {"vocabulary": len(text.vocabulary)}
    this = Run("shakespeare", out, resume, epochs=epochs, steps=steps, autocast=autocast, seed=seed,
               model=shape, characters=text.vocabulary.characters)  # fmt: skip
    seed = this.seed
    weft.random.seed(seed)
    loader = DataLoader(RandomWindows(text.train, BATCH * ITERATIONS_PER_EPOCH), BATCH, seed=seed)
    validation = DataLoader(Windows(text.validation, BLOCK, stride=BLOCK), 64)
    model = build(**shape).to(device)
    this.announce(f"{len(text.train):,} characters to train, the last {len(text.validation):,} to validate", model)

    matrices = [p for p in model.parameters() if p.ndim == 2]
    scales = [p for p in model.parameters() if p.ndim < 2]  # of the norms, which decay would only shrink
    groups = [{"params": matrices}, {"params": scales, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=3e-3, betas=(0.9, 0.99), weight_decay=0.1)
    steps = this.steps_of(loader)
    warm_up = min(100, steps // 2)
    schedule = SequentialLR(
        optimizer,
        [LinearLR(optimizer, 0.01, total_iters=warm_up), CosineAnnealingLR(optimizer, steps - warm_up, eta_min=3e-4)],
        milestones=[warm_up],
    )
    trainer = Trainer(
        model, optimizer, loss, schedule=schedule, clip_norm=1.0,
        out=this.folder, autocast=this.autocast,
    )  # fmt: skip
    rounds = trainer.fit(loader, validation, epochs=this.epochs, steps=this.steps, resume=resume)
    figures = this.conclude(train=rounds[-1]["loss"], validation=loss_of_all(model, text.validation))
    print(generate(model, this.settings, "\n", length=300))
    return figures


if __name__ == "__main__":
    run()
