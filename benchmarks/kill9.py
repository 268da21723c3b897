"""kill -9 at random moments of a training run: what is left of the checkpoints, and where the run ends.

    python benchmarks/kill9.py --kills 100

A small training (convolution, batch norm, dropout, augmentation by two threads, AdamW, OneCycle) saves after every
step, is killed at a random moment, resumed, killed again, until it is complete; then the next one begins. Its weights
and records must be those of a run that nobody killed. SIGKILL does not test the loss of power.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIMES = ("seconds", "samples_per_second")


def train(out: Path) -> None:
    """The run that is killed; continues where there is something to continue."""
    import numpy as np

    import weft
    from weft import nn, optim
    from weft.data import ArrayDataset, DataLoader, RandomCrop
    from weft.random import Generator
    from weft.train import Trainer

    numbers = Generator(1)
    labels = numbers.integers_array(0, 4, (600,))
    images = numbers.normal_array((600, 1, 12, 12)) + labels[:, None, None, None].astype(np.float32)
    train_loader = DataLoader(ArrayDataset(images[:500], labels[:500]), 10, True, workers=2, transform=RandomCrop(2))
    validation_loader = DataLoader(ArrayDataset(images[500:], labels[500:]), 50)
    weft.random.seed(2)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Dropout(0.2), nn.Linear(200, 4))  # fmt: skip
    optimizer = optim.AdamW(model.parameters(), 1e-3)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=6 * len(train_loader))
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), schedule=schedule, metrics=["accuracy"], out=out,
                      checkpoint_steps=1, log_every=5)  # fmt: skip
    print("ready", flush=True)
    trainer.fit(train_loader, validation_loader, epochs=6, resume=True)


def start(out: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])}
    command = [sys.executable, __file__, "--child", out]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def result(out: Path) -> tuple[bytes, list[dict[str, object]]]:
    """What must be equal: the weights to the byte, and the records without their times."""
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    plain = [{key: value for key, value in record.items() if key not in TIMES} for record in records]
    return (out / "model.safetensors").read_bytes(), plain


def inspect(out: Path) -> tuple[int, int]:
    """(unreadable checkpoints, acknowledged steps that no checkpoint has) of a killed run."""
    from weft.io import CheckpointError
    from weft.io.state import load_with_metadata

    unreadable, newest = 0, 0
    for path in sorted((out / "checkpoints").glob("step-*.safetensors")):
        try:
            newest = max(newest, load_with_metadata(path, checksums=True)[0]["run"]["step"])
        except CheckpointError as error:
            print(error)
            unreadable += 1
    log = out / "acknowledged"
    said = [int(line) for line in log.read_text().split()] if log.exists() else []
    return unreadable, max(0, max(said, default=0) - newest)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        train(options.child)
        return 0

    chance = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="weft-kill9-"))
    begun = time.perf_counter()
    whole = start(folder / "whole")
    whole.communicate()
    if whole.returncode:
        raise RuntimeError(f"the run that nobody kills ended with {whole.returncode}")
    alone = time.perf_counter() - begun
    wanted = result(folder / "whole")
    kills = unreadable = lost = runs = equal = saved = 0
    while kills < options.kills or runs == 0:
        out, complete = folder / f"run-{runs}", False
        while not complete:
            child = start(out)
            if kills < options.kills and chance.random() < 0.8:  # else anywhere, the start of the process too
                child.stdout.readline()  # type: ignore[union-attr]
            if kills < options.kills:
                time.sleep(chance.random() * alone / 2)
                child.send_signal(signal.SIGKILL)
            child.communicate()
            complete = child.returncode == 0
            if child.returncode == -signal.SIGKILL:
                kills += 1
                bad, gone = inspect(out)
                unreadable, lost = unreadable + bad, lost + gone
                saved += (out / "acknowledged").exists()
            elif not complete:
                raise RuntimeError(f"a run ended with {child.returncode}")
        runs += 1
        equal += result(out) == wanted
        shutil.rmtree(out)
    shutil.rmtree(folder)
    for name, value in (("kills", kills), ("of them after a first save", saved), ("unreadable checkpoints", unreadable),
                        ("acknowledged steps lost", lost), ("complete runs", runs), ("bit-equal at the end", equal)):
        print(f"{name:<26}{value:>6}")
    print(f"{time.perf_counter() - begun:.0f} s; a run that nobody kills takes {alone:.1f} s")
    return int(unreadable > 0 or lost > 0 or equal != runs)


if __name__ == "__main__":
    sys.exit(main())
