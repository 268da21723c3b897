"""The part of a round in which the device had no step: by the host's clock, and by a GPU's events."""

from __future__ import annotations

import time

import numpy as np
import pytest

import fake_cupy
import weft
from weft import nn, optim
from weft.data import DataLoader, Dataset
from weft.train import Trainer
from weft.train.idle import Idle


class Clock:
    """Seconds that pass when they are told to, and a little at every look."""

    now = 0.0

    def perf_counter(self):
        self.now += 0.001
        return self.now


class Slow(Dataset):
    """Six samples, each a second late."""

    def __init__(self, clock):
        self.clock = clock

    def __len__(self):
        return 6

    def __getitem__(self, i):
        self.clock.now += 1.0
        return np.ones(2, "f"), i % 2


def test_a_run_says_how_long_it_waited(capsys, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("weft.train.idle.time", clock)
    model = nn.Linear(2, 2)
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss())
    slow, quick = trainer.fit(DataLoader(Slow(clock), 1), epochs=1), None
    # Seven seconds: the loader looks at a sample's layout first. What is waited before the first step does not count.
    assert 0.7 < slow[0]["idle"] <= 5 / 7 and "idle " in capsys.readouterr().out
    quick = Trainer(model, optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss(), progress=False)
    rounds = quick.fit(DataLoader([(np.ones(2, "f"), 1)] * 6, 1), epochs=1)
    assert rounds[0]["idle"] < slow[0]["idle"]


def test_a_gpu_counts_by_its_events(monkeypatch):
    fake, _ = fake_cupy.install(monkeypatch)
    idle = Idle()
    for _ in range(3):
        idle.begin("cuda:0")
        idle.end("cuda:0")
    # Three steps have two gaps between them, of 1.5 s each by the fake's clock; none has passed yet.
    assert len(idle.gaps) == 2 and idle.seconds == 0 and ("wait", "event5") not in fake.calls
    for start, end in idle.gaps:
        start.cupy.done = end.cupy.done = True
    idle.look()
    assert idle.seconds == 3.0 and idle.gaps == [] and idle.fraction() == 1.0
    idle.begin("cuda:0")
    assert idle.fraction() == 1.0 and fake.calls[-1][0] == "wait"  # for the latest event alone
    idle.reset()
    assert idle.fraction() == 0.0


def test_the_hosts_clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    idle = Idle()
    for begin, end in ((1, 3), (4, 6), (10, 11)):
        now[0] = begin
        idle.begin("cpu")
        now[0] = end
        idle.end("cpu")
    now[0] = 20
    idle.pause()
    now[0] = 25
    idle.begin("cpu")
    assert idle.seconds == 5 and idle.fraction() == pytest.approx(5 / 25)
    assert weft.default_device() == "cpu"
