"""A small training that uses everything a checkpoint must hold: batch norm, dropout, augmentation, a schedule."""

from __future__ import annotations

import json

import numpy as np
import pytest

import weft
from weft import nn, optim
from weft.data import ArrayDataset, DataLoader, RandomHorizontalFlip
from weft.train import Trainer, trainer

rng = np.random.default_rng(0)
LABELS = rng.integers(0, 3, 50)
IMAGES = (rng.standard_normal((50, 1, 6, 6)) + LABELS[:, None, None, None]).astype("f")
TIMES = ("seconds", "samples_per_second", "idle")


class Task:
    """Builds the same trainer and loaders anew each time, as a new process would."""

    epochs = 3

    def trainer(self, out=None, loss=None, schedule_every="step", **options):
        weft.random.seed(5)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
                              nn.Linear(64, 3))  # fmt: skip
        optimizer = optim.AdamW(model.parameters(), 0.01)
        schedule = optim.lr_scheduler.StepLR(optimizer, 5 if schedule_every == "step" else 1, 0.7)
        options = {"checkpoint_steps": 4, "metrics": ["accuracy", "f1"], "progress": False, "log_every": 2, **options}
        return Trainer(model, optimizer, loss or nn.CrossEntropyLoss(), schedule=schedule,
                       schedule_every=schedule_every, out=out, **options)  # fmt: skip

    def loaders(self, workers=0):
        train, validation = ArrayDataset(IMAGES[:38], LABELS[:38]), ArrayDataset(IMAGES[38:], LABELS[38:])
        return (DataLoader(train, 5, shuffle=True, seed=2, workers=workers, transform=RandomHorizontalFlip()),
                DataLoader(validation, 8, transform=RandomHorizontalFlip()))  # fmt: skip

    def fit(self, trainer, workers=0, **options):
        if "steps" not in options:
            options["epochs"] = self.epochs
        return trainer.fit(*self.loaders(workers), **options)

    @staticmethod
    def result(out):
        """What two equal runs leave equal: weights to the byte, and every record but its times."""
        records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        for record in records:
            for name in TIMES:
                record.pop(name, None)
        return (out / "model.safetensors").read_bytes(), records


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(trainer, "draw_curves", lambda *args: None)  # costs more than these trainings
    return Task()
