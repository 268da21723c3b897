"""Dates as people write them, translated to ISO form by an encoder-decoder transformer, in a minute on two CPU cores.

    the 3rd of march 2021  ->  2021-03-03

The dates are generated: every day of a hundred years is in at most one of the three splits, so that no test date has
ever been seen, in any of its forms. A translation counts only if all ten characters are right.

    weft train dates
    weft generate runs/dates-1 --prompt "friday, 13 november 1987"
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

import weft
from weft import nn
from weft.data import ArrayDataset, DataLoader
from weft.metrics import Metric
from weft.nn import functional as F
from weft.optim import AdamW, OneCycleLR
from weft.random import Generator
from weft.recipes.common import Run, draw_attention
from weft.train import Trainer

FIRST = datetime.date(1950, 1, 1)
DAYS = (datetime.date(2049, 12, 31) - FIRST).days + 1
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
          "december"]  # fmt: skip

# Character i is token i + 1; 0 fills up a short text, and the last token begins a translation.
CHARACTERS = " ,./-0123456789abcdefghijklmnopqrstuvwxyz"
VOCABULARY = len(CHARACTERS) + 2
BEGIN = VOCABULARY - 1
READ, WRITTEN = 30, 10  # the longest text, and the length of an ISO date


# ---- the language


def forms(date: datetime.date) -> list[str]:
    """The ways in which people write a date; a year of two digits is one of 1950 to 2049, so each has one meaning."""
    y, m, d = date.year, date.month, date.day
    month, weekday = MONTHS[m - 1], WEEKDAYS[date.weekday()]
    nth = f"{d}{'th' if 10 <= d <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(d % 10, 'th')}"
    return [
        f"{d} {month} {y}", f"{month} {d}, {y}", f"{weekday}, {d} {month} {y}", f"{weekday}, {month} {d}, {y}",
        f"{month[:3]} {d}, {y}", f"{d} {month[:3]} {y}", f"{weekday[:3]} {d} {month[:3]} {y}", f"{d:02d}/{m:02d}/{y}",
        f"{d}.{m}.{y}", f"the {nth} of {month} {y}", f"{month} {nth}, {y}", f"{d:02d}-{month[:3]}-{y % 100:02d}",
    ]  # fmt: skip


def encode(texts: list[str], length: int) -> Any:
    """Texts as tokens, (N, length) int64; ValueError names a character that no date has, or a text that is too long."""
    tokens = np.zeros((len(texts), length), np.int64)
    for row, text in zip(tokens, texts):
        strange = sorted(set(text) - set(CHARACTERS))
        if strange or len(text) > length:
            raise ValueError(f"dates: expected at most {length} characters out of {CHARACTERS!r}, got {text!r}")
        row[: len(text)] = [CHARACTERS.index(c) + 1 for c in text]
    return tokens


def decode(tokens: Any) -> str:
    return "".join(CHARACTERS[t - 1] for t in tokens if 0 < t < BEGIN)


def make_dates(seed: int, train: int = 20_000, validation: int = 1_000, test: int = 2_000) -> list[ArrayDataset]:
    """Train, validation and test split of days that no other one has.

    A sample: the text (READ,), what is known when each character is asked for (WRITTEN,), the ISO form (WRITTEN,).
    """
    rng = Generator(seed)
    days = rng.permutation_array(DAYS)[: train + validation + test]
    form = rng.integers_array(0, len(forms(FIRST)), len(days))
    dates = [FIRST + datetime.timedelta(days=int(day)) for day in days]
    texts = encode([forms(date)[k] for date, k in zip(dates, form)], READ)
    isos = encode([date.isoformat() for date in dates], WRITTEN)
    known = np.concatenate([np.full((len(days), 1), BEGIN), isos[:, :-1]], axis=1)
    parts = np.split(np.arange(len(days)), [train, train + validation])
    return [ArrayDataset(texts[part], known[part], isos[part]) for part in parts]


# ---- the model


class Layer(nn.Module):
    """A transformer layer; one of the decoder also looks at what the encoder made of the text."""

    def __init__(self, width: int, heads: int, decodes: bool):
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm3 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.decodes = decodes
        if decodes:
            self.norm2 = nn.LayerNorm(width)
            self.looking = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Any, text: Any = None, padding: Any = None, ahead: Any = None, show: bool = False) -> Any:
        """(N, S, width) -> the same; with `show` also where the decoder looked, (N, S, READ)."""
        h, weights = self.norm1(x), None
        x = x + self.attention(h, h, h, attn_mask=ahead, key_padding_mask=None if self.decodes else padding,
                               need_weights=False)[0]  # fmt: skip
        if self.decodes:
            looked, weights = self.looking(self.norm2(x), text, text, key_padding_mask=padding, need_weights=show)
            x = x + looked
        x = x + self.mlp(self.norm3(x))
        return (x, weights) if show else x


class Translator(nn.Module):
    """Text (N, READ) and the translation so far (N, n) -> scores of the character after each, (N, n, VOCABULARY)."""

    def __init__(self, width: int, heads: int, layers: int):
        self.token = nn.Embedding(VOCABULARY, width)
        self.place_read = nn.Embedding(READ, width)
        self.place_written = nn.Embedding(WRITTEN, width)
        self.encoder = nn.ModuleList([Layer(width, heads, decodes=False) for _ in range(layers)])
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList([Layer(width, heads, decodes=True) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY)
        for table in (self.token, self.place_read, self.place_written):
            nn.init.normal_(table.weight, std=0.1)

    def read(self, text: Any) -> tuple[Any, Any]:
        """What the encoder makes of a text, (N, READ, width), and where the text is only filling, (N, READ) bool."""
        padding = text == 0
        x = self.token(text) + self.place_read.weight
        for layer in self.encoder:
            x = layer(x, padding=padding)
        return self.encoder_norm(x), padding

    def write(self, read: tuple[Any, Any], written: Any, show: bool = False) -> Any:
        n = written.shape[1]
        ahead = np.triu(np.ones((n, n), bool), 1)  # True: may not be seen yet
        x = self.token(written) + self.place_written.weight[:n]
        weights = None
        for layer in self.decoder:
            x = layer(x, *read, ahead=ahead, show=show)
            if show:
                x, weights = x
        scores = self.head(self.norm(x))
        return (scores, weights) if show else scores

    def forward(self, text: Any, known: Any) -> Any:
        return self.write(self.read(text), known)


def build(width: int = 64, heads: int = 4, layers: int = 2) -> Translator:
    return Translator(width, heads, layers)


def example() -> tuple[dict[str, Any], Any]:
    """Inputs for an export, and their dynamic axes; None: the batch."""
    text, known, _ = make_dates(0, 2, 0, 0)[0].arrays
    return {"text": text, "known": known}, None


def loss(scores: Any, iso: Any) -> Any:
    return F.cross_entropy(scores.reshape(-1, VOCABULARY), iso.reshape(-1))


def translate(model: Translator, text: Any) -> tuple[Any, Any]:
    """Tokens (N, READ) -> the likeliest translation, character by character (N, WRITTEN), and where it looked."""
    written = np.full((len(text), 1), BEGIN, np.int64)
    device = next(model.parameters()).device
    with weft.no_grad():
        read = model.read(weft.asarray(text, device=device))
        for _ in range(WRITTEN):
            scores, weights = model.write(read, weft.asarray(written, device=device), show=True)
            written = np.concatenate([written, scores.numpy()[:, -1:].argmax(-1)], axis=1)
    return written[:, 1:], weights.numpy()


class Exact(Metric):
    """The share of texts all of whose characters are right, each when those before it are known."""

    sums = ("right", "seen")

    def reset(self) -> None:
        self.right, self.seen = 0, 0

    def update(self, outputs: Any, targets: Any) -> None:
        right = (outputs.numpy().argmax(-1) == targets.numpy()).all(axis=1)
        self.right, self.seen = self.right + int(right.sum()), self.seen + len(right)

    def compute(self) -> float:
        return self.right / max(self.seen, 1)


def exact(model: Translator, dates: ArrayDataset) -> float:
    """The share of dates that are translated without a fault, with nothing known but the text."""
    texts, _, isos = dates.arrays
    parts = [translate(model, texts[i : i + 250])[0] for i in range(0, len(texts), 250)]
    return float((np.concatenate(parts) == isos).all(axis=1).mean())


def generate(model: Translator, settings: dict[str, Any], prompt: str, **_: Any) -> str:
    """The ISO form of one date."""
    return decode(translate(model, encode([prompt.lower()], READ))[0][0])


def run(
    device: str | None = None,
    epochs: int = 4,
    seed: int = 0,
    data: str | None = None,
    out: str = "runs",
    resume: bool = False,
    steps: int | None = None,
    autocast: str | None = None,
) -> dict[str, Any]:
    shape = {"width": 64, "heads": 4, "layers": 2}
    this = Run("dates", out, resume, epochs=epochs, steps=steps, autocast=autocast, seed=seed, model=shape)
    seed = this.seed
    weft.random.seed(seed)
    train, validation, test = make_dates(seed)
    loader = DataLoader(train, 64, shuffle=True, drop_last=True, seed=seed)
    model = build(**shape).to(device)
    split = f"{len(train):,} days to train, {len(validation):,} to validate, {len(test):,} to test, none in two of them"
    this.announce(split, model)

    optimizer = AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    schedule = OneCycleLR(optimizer, max_lr=3e-3, total_steps=this.steps_of(loader), pct_start=0.15)
    trainer = Trainer(
        model, optimizer, loss, schedule=schedule, metrics={"exact": Exact()},
        out=this.folder, autocast=this.autocast,
    )  # fmt: skip
    rounds = trainer.fit(loader, DataLoader(validation, 250), epochs=this.epochs, steps=this.steps, resume=resume)
    model.eval()
    figures = this.conclude(train=rounds[-1]["exact"], validation=exact(model, validation), test=exact(model, test))
    text = forms(datetime.date(1969, 7, 20))[9]
    written, weights = translate(model, encode([text], READ))
    print(f"{text} -> {decode(written[0])}")
    picture, iso = this.folder / "attention.png", decode(written[0])
    trainer.draw(lambda: draw_attention(weights[0, :, : len(text)], text, iso, picture), picture)
    return figures


if __name__ == "__main__":
    run()
