"""Runs that are cut end as if they had not been: same weights to the bit, same records."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest

from policy import HANG, ROOT
from weft.io import CheckpointError, CheckpointWarning, durable
from weft.train import Callback, CheckpointStore, EarlyStopping, Interrupted, NonFiniteError
from weft.train import trainer as trainer_module


class Crash(Exception):
    pass


class CrashAt(Callback):
    """Ends the process's hopes after a step, with no chance to save."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer):
        if trainer.step == self.step:
            raise Crash


class SignalAt(Callback):
    def __init__(self, step, number=signal.SIGTERM):
        self.step, self.number = step, number

    def on_step(self, trainer):
        if trainer.step == self.step:
            os.kill(os.getpid(), self.number)


KINDS = {
    "epochs": ({}, {}),
    "two workers": ({}, {"workers": 2}),
    "accumulated": ({"accumulate": 3, "schedule_every": "round", "clip_norm": 0.5}, {}),
    "rounds of steps": ({}, {"steps": 20, "evaluate_every": 7, "workers": 1}),
    "every step": ({"checkpoint_steps": 1}, {"steps": 11}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_crash_anywhere(kind, every, task, tmp_path):
    options, how = KINDS[kind]
    whole = task.trainer(tmp_path / "whole", callbacks=[CrashAt(-1)], **options)
    task.fit(whole, **how)
    wanted = task.result(tmp_path / "whole")
    for cut in range(2 if every > 1 else 1, whole.step + 1, every):
        out = tmp_path / f"cut-{cut}"
        with pytest.raises(Crash):
            task.fit(task.trainer(out, callbacks=[CrashAt(cut)], **options), **how)
        acknowledged = [int(line) for line in (out / "acknowledged").read_text().split()] if cut > 4 else []
        resumed = task.trainer(out, callbacks=[CrashAt(-1)], **options)
        task.fit(resumed, resume=True, **how)
        assert task.result(out) == wanted, f"cut after step {cut}"
        assert not acknowledged or max(acknowledged) <= cut
    shutil.rmtree(tmp_path)


def test_what_is_acknowledged_is_there(task, tmp_path):
    with pytest.raises(Crash):
        task.fit(task.trainer(tmp_path, callbacks=[CrashAt(15)]))
    assert (tmp_path / "acknowledged").read_text().split() == ["4", "8", "12"]
    state, step = CheckpointStore(tmp_path / "checkpoints").load()
    assert step == 12 and state["run"]["step"] == 12 and len(CheckpointStore(tmp_path / "checkpoints").files()) == 2


@pytest.mark.parametrize("step", [1, 8, 9, 24])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_75(step, number, task, tmp_path):
    task.fit(task.trainer(tmp_path / "whole", callbacks=[SignalAt(-1)]))
    with pytest.raises(Interrupted, match=f"{number.name} after step {step}: saved") as caught:
        task.fit(task.trainer(tmp_path / "cut", callbacks=[SignalAt(step, number)]))
    assert caught.value.code == 75
    assert (tmp_path / "cut" / "acknowledged").read_text().split()[-1] == str(step)
    task.fit(task.trainer(tmp_path / "cut", callbacks=[SignalAt(-1)]), resume=True)
    assert task.result(tmp_path / "cut") == task.result(tmp_path / "whole")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_during_validation(task, tmp_path):
    task.fit(task.trainer(tmp_path / "whole"))
    cut = task.trainer(tmp_path / "cut")
    evaluate, calls = cut.evaluate, []

    def interrupted(loader):
        calls.append(loader)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(loader)

    cut.evaluate = interrupted
    with pytest.raises(Interrupted, match="after step 16"):
        task.fit(cut)
    task.fit(task.trainer(tmp_path / "cut"), resume=True)
    assert task.result(tmp_path / "cut") == task.result(tmp_path / "whole")


def test_a_second_interrupt_stops_at_once(task, tmp_path):
    class Twice(Callback):
        def on_step(self, trainer):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        task.fit(task.trainer(tmp_path, callbacks=[Twice()]))


def test_a_damaged_checkpoint_costs_one_interval(task, tmp_path):
    task.fit(task.trainer(tmp_path / "whole", callbacks=[CrashAt(-1)]))
    out = tmp_path / "cut"
    with pytest.raises(Crash):
        task.fit(task.trainer(out, callbacks=[CrashAt(15)]))
    newest = out / "checkpoints" / "step-000000012.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    with pytest.warns(CheckpointWarning, match="step-000000012.*damaged; using the one of step 8"):
        task.fit(task.trainer(out, callbacks=[CrashAt(-1)]), resume=True)
    assert task.result(out) == task.result(tmp_path / "whole")
    assert newest.with_name(newest.name + ".damaged").exists()
    for path in (out / "checkpoints").glob("*.safetensors"):
        path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="only damaged ones"):
        task.fit(task.trainer(out, callbacks=[CrashAt(-1)]), resume=True)


def test_resume_only_what_fits(task, tmp_path):
    with pytest.raises(Crash):
        task.fit(task.trainer(tmp_path, callbacks=[CrashAt(9)]))
    with pytest.raises(ValueError, match="holds a run; continue it with resume=True"):
        task.fit(task.trainer(tmp_path, callbacks=[CrashAt(-1)]))
    with pytest.raises(ValueError, match="expected metrics .'accuracy', 'f1'. and 1 callbacks"):
        task.fit(task.trainer(tmp_path, metrics=["accuracy"], callbacks=[CrashAt(-1)]), resume=True)
    train, validation = task.loaders()
    train.batch_size = 6
    with pytest.raises(ValueError, match="batch_size 6, got 5"):
        task.trainer(tmp_path, callbacks=[CrashAt(-1)]).fit(train, validation, epochs=3, resume=True)
    with pytest.raises(ValueError, match="a validation_loader"):
        task.trainer(tmp_path, callbacks=[CrashAt(-1)]).fit(task.loaders()[0], epochs=3, resume=True)
    with pytest.raises(ValueError, match="resume=True"):
        task.fit(task.trainer(None), resume=True)


def test_resuming_a_finished_run_changes_nothing(task, tmp_path):
    task.fit(task.trainer(tmp_path))
    wanted = task.result(tmp_path)
    assert len(task.fit(task.trainer(tmp_path), resume=True)) == 3
    assert task.result(tmp_path) == wanted


def test_more_epochs_later(task, tmp_path):
    task.fit(task.trainer(tmp_path / "whole"))
    task.epochs = 2
    task.fit(task.trainer(tmp_path / "parts"))
    task.epochs = 3
    task.fit(task.trainer(tmp_path / "parts"), resume=True)
    assert task.result(tmp_path / "parts") == task.result(tmp_path / "whole")


def test_best_weights_and_early_stopping_survive(task, tmp_path):
    def options(cut):
        callbacks = [EarlyStopping("validation_loss", patience=2), CrashAt(cut)]
        return {"restore_best": True, "callbacks": callbacks, "checkpoint_steps": 3}

    task.epochs = 30
    whole = task.trainer(tmp_path / "whole", **options(-1))
    records = task.fit(whole)
    assert len(records) < 30 and whole.stopped
    losses = [record["validation_loss"] for record in records]
    assert whole.best["value"] == min(losses) and len(losses) == losses.index(min(losses)) + 3
    assert whole.evaluate(task.loaders()[1])["loss"] == pytest.approx(min(losses), rel=0.5)
    for cut in range(whole.step - 9, whole.step + 1, 4):
        out = tmp_path / f"cut-{cut}"
        with pytest.raises(Crash):
            task.fit(task.trainer(out, **options(cut)))
        task.fit(task.trainer(out, **options(-1)), resume=True)
        assert task.result(out) == task.result(tmp_path / "whole")


# ---- what is not finite


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("kind, cause", [("loss", "the loss is nan"), ("gradient", "the gradient of .*0.weight")])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_is_not_finite_is_not_taken(kind, cause, accumulate, task, tmp_path, monkeypatch):
    good = task.trainer(tmp_path / "good", callbacks=[CrashAt(4)], accumulate=accumulate)
    with pytest.raises(Crash):
        task.fit(good)
    from weft import nn

    calls = []

    def loss(outputs, targets):
        value = nn.CrossEntropyLoss()(outputs, targets)
        if outputs.requires_grad:
            calls.append(1)
        if len(calls) != 4 * accumulate + 1 or not outputs.requires_grad:
            return value
        if kind == "loss":
            return value * float("nan")
        outputs.register_hook(lambda g: g * float("inf"))
        return value

    bad = task.trainer(tmp_path / "bad", loss=loss, accumulate=accumulate)
    epoch, first = divmod(4 * accumulate, 8)  # an epoch has 8 batches
    with pytest.raises(NonFiniteError, match=rf"step 5 \(epoch {epoch}, batch {first}\): {cause}") as caught:
        task.fit(bad)
    loader = task.loaders()[0]
    wanted = np.concatenate([loader.indices(epoch, first + i) for i in range(accumulate)])
    assert str(wanted.tolist()) in str(caught.value)
    names = {name for name, _ in bad.model.named_parameters()}
    after, before = bad.model.state_dict(), good.model.state_dict()
    assert all(np.array_equal(after[name], before[name]) for name in names)
    assert CheckpointStore(tmp_path / "bad" / "checkpoints").load()[1] == 4


# ---- the disk


def test_a_full_disk_is_survived(task, tmp_path, monkeypatch):
    task.fit(task.trainer(tmp_path / "whole"))
    out, real, full = tmp_path / "full", os.write, []

    def write(handle, data):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data)

    class FullFrom(Callback):
        def on_step(self, trainer):
            full[:] = [1] if 5 <= trainer.step < 14 else []

    monkeypatch.setattr(durable.os, "write", write)
    message = "no checkpoint of step 8.*No space left.*the newest is of step 4"
    with pytest.warns(CheckpointWarning, match=message) as caught:
        task.fit(task.trainer(out, callbacks=[FullFrom()]))
    assert [str(w.message).split(":")[0] for w in caught] == [f"no checkpoint of step {step}" for step in (8, 12)]
    # The last step comes twice: after it, and after its validation.
    assert (out / "acknowledged").read_text().split() == ["4", "16", "20", "24", "24"]
    assert task.result(out) == task.result(tmp_path / "whole")


def test_a_real_full_disk(task, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True)
    if made.returncode:
        pytest.skip("the right to mount a small tmpfs is needed")
    try:
        with pytest.raises(Crash):
            task.fit(task.trainer(disk / "run", callbacks=[CrashAt(9)]))
        store = CheckpointStore(disk / "run" / "checkpoints")
        old = {path: path.read_bytes() for _, path in store.files()}
        with open(disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
            while True:
                filler.write(b"x" * 4096)
        with warnings.catch_warnings(record=True) as caught, pytest.raises(CheckpointError, match="No space left"):
            warnings.simplefilter("always")
            task.fit(task.trainer(disk / "run", callbacks=[CrashAt(-1)]), resume=True)
        assert any("no checkpoint of step 12" in str(w.message) for w in caught)
        assert {path: path.read_bytes() for _, path in store.files()} == old
        (disk / "filler").unlink()
        task.fit(task.trainer(disk / "run", callbacks=[CrashAt(-1)]), resume=True)
        task.fit(task.trainer(tmp_path / "whole", callbacks=[CrashAt(-1)]))
        assert task.result(disk / "run") == task.result(tmp_path / "whole")
    finally:
        subprocess.run(["umount", disk], check=True)


# ---- kill -9


def run_kill9(*options):
    command = [sys.executable, ROOT / "benchmarks" / "kill9.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_kill_9():
    text = run_kill9("--kills", "5")
    assert re.search(r"unreadable checkpoints +0\n", text) and re.search(r"acknowledged steps lost +0\n", text)


@pytest.mark.slow
def test_kill_9_often():
    text = run_kill9("--kills", "100")
    assert re.search(r"kills +100\n", text)


def test_sigterm_of_a_process(tmp_path):
    command = [ROOT / "benchmarks" / "kill9.py", "--child", tmp_path / "run"]
    cut = [sys.executable, ROOT / "tests" / "terminated.py", "epoch 2", *command]
    done = subprocess.run(cut, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 75 and "SIGTERM" in done.stdout, done.stdout + done.stderr
    assert subprocess.run([sys.executable, *command], capture_output=True, timeout=HANG).returncode == 0


def test_checkpoints_cost_little_by_default(task, tmp_path, capsys, monkeypatch):
    trainer = task.trainer(tmp_path, checkpoint_steps=None, progress=True)
    task.fit(trainer)
    assert "one every 5 s costs" in capsys.readouterr().out
    monkeypatch.setattr(trainer.saver, "cost", 2.0)
    assert trainer.saver.interval() == 200.0
    assert trainer_module.Saver is type(trainer.saver)
