"""What users write, as strict type checkers must take it; test_typing.py runs mypy over it, and never this file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import weft
from weft import nn, optim
from weft.data import ArrayDataset, DataLoader
from weft.train import Callback, SummaryWriter, TensorBoard, Trainer


class Net(nn.Module):
    def __init__(self, hidden: int = 16) -> None:
        self.body = nn.Sequential(nn.Linear(4, hidden), nn.GELU(), nn.Dropout(0.1))
        self.head = nn.Linear(hidden, 3)
        self.scale = nn.Parameter(np.ones(3))

    def forward(self, x: weft.Tensor) -> weft.Tensor:
        hidden: weft.Tensor = self.body(x)
        return weft.softmax(self.head(hidden) * self.scale, axis=-1)


class Stop(Callback):
    def on_step(self, trainer: Trainer) -> None:
        trainer.stopped = trainer.step > 10


def arrays(x: weft.Tensor) -> weft.Tensor:
    y = weft.concat([x, weft.zeros((2, 4))], axis=0)
    z = (y @ y.mT + 1 - 2.0 / y.sum(axis=1, keepdims=True)).astype(weft.float64).reshape(-1)
    first, *rest = z
    mask = (z > 0) & weft.isfinite(z)
    shape: tuple[int, ...] = z.shape
    host: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = z.numpy()
    count: int = len(rest) + shape[0] + host.size
    return weft.where(mask, z, first) * count


def train(folder: Path) -> float:
    model, rng = Net(), np.random.default_rng(0)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    loader = DataLoader(ArrayDataset(rng.random((8, 4)), rng.integers(0, 3, 8)), batch_size=4, shuffle=True)
    trainer = Trainer(
        model, optimizer, nn.CrossEntropyLoss(), schedule=schedule, metrics=["accuracy"], out=folder, tensorboard=True,
        callbacks=[Stop(), TensorBoard(folder / "more", histograms=True)],
    )  # fmt: skip
    trainer.fit(loader, epochs=2)
    with weft.no_grad(), weft.profile() as p:
        out = model(weft.asarray(np.zeros((1, 4)), dtype=weft.float32, device="cpu"))
    p.export_chrome_trace(folder / "trace.json")
    with SummaryWriter(folder / "log") as writer:
        writer.add_scalar("loss", out.mean(), step=3)
    weft.save(folder / "model.safetensors", model.state_dict())
    model.load_state_dict(weft.load(folder / "model.safetensors"))
    total: weft.Tensor = out.sum()
    return float(total.item())


def gradients(x: weft.Tensor) -> weft.Tensor:
    x.requires_grad = True
    (x * x).sum().backward()
    if x.grad is None:
        raise RuntimeError("no gradient")
    return x.grad


reveal_type(weft.concat([weft.ones((2,))]))  # Tensor
reveal_type(weft.exp(weft.ones((2,))))  # Tensor
reveal_type(weft.ones((2,)) + 1)  # Tensor
reveal_type(weft.ones((2,)).max(axis=0))  # Tensor
reveal_type(weft.einsum("i->", weft.ones((2,))))  # Tensor
reveal_type(weft.matmul(weft.ones((2, 2)), weft.ones((2, 2))))  # Tensor
weft.ones((2,)).no_such_method()  # error: attr-defined
weft.no_such_function()  # error: attr-defined
weft.ones((2,)) + "text"  # error: operator
weft.softmax(weft.ones((2,)), axes=1)  # error: call-arg
optim.AdamW(nn.Linear(1, 1).parameters(), rate=1)  # error: call-arg
