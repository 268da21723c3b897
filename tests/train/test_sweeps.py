"""Sweeps: what is tried, what is best, what is kept, what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from weft.train import Between, NonFiniteError, sweep

SPACE = {"lr": [0.01, 0.1, 1.0], "width": [4, 8], "name": ["a", None]}


class Trial:
    """A known function of the settings that counts its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, lr, width=4, name=None, seed=0):
        self.calls.append((lr, width, name, seed))
        return {"validation_loss": (lr - 0.1) ** 2 + 1 / width + seed, "validation_accuracy": width / (1 + lr)}


def test_every_combination_once_and_the_best_first():
    trial = Trial()
    result = sweep(trial, SPACE)
    assert len(result) == len(set(trial.calls)) == 12
    assert result.settings == {"lr": 0.1, "width": 8, "name": "a"} and result.best["validation_loss"] == 0.125
    losses = [row["validation_loss"] for row in result]
    assert losses == sorted(losses)
    up = sweep(trial, SPACE, monitor="validation_accuracy")
    assert up.settings == {"lr": 0.01, "width": 8, "name": "a"}
    text = str(result).splitlines()
    assert text[0].split()[:4] == ["lr", "width", "name", "validation_loss"] and len(text) == 14
    assert result.table(2).endswith("... and 10 rows more")


def test_seeds_are_averaged_with_their_spread():
    result = sweep(Trial(), {"lr": [0.1, 1.0]}, seeds=[0, 1, 5])
    assert result.best["validation_loss"] == pytest.approx(0.25 + 2)
    assert result.best["validation_loss_std"] == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert "seed" not in result.settings


def test_random_draws_of_a_grid_do_not_repeat():
    trial = Trial()
    sweep(trial, SPACE, samples=7, seed=3)
    first = trial.calls
    assert len(set(first)) == 7 and {(lr, w, n) for lr, w, n, _ in first} < {
        (lr, w, n) for lr in SPACE["lr"] for w in SPACE["width"] for n in SPACE["name"]
    }
    for seed, same in ((3, True), (4, False)):
        trial = Trial()
        sweep(trial, SPACE, samples=7, seed=seed)
        assert (trial.calls == first) is same
    trial = Trial()
    assert len(sweep(trial, SPACE, samples=100)) == 12


def test_draws_between_fill_the_range_evenly_in_the_logarithm():
    trial = Trial()
    sweep(trial, {"lr": Between(1e-4, 1, log=True), "width": [4, 8]}, samples=400)
    rates = sorted(call[0] for call in trial.calls)
    assert 1e-4 <= rates[0] < 2e-4 and 0.5 < rates[-1] <= 1 and 0.004 < rates[200] < 0.025
    assert 120 < sum(call[1] == 4 for call in trial.calls) < 280
    trial = Trial()
    sweep(trial, {"lr": Between(2, 4)}, samples=300)
    assert 2.8 < sum(call[0] for call in trial.calls) / 300 < 3.2 and all(2 <= call[0] <= 4 for call in trial.calls)


def test_a_trial_that_diverges_is_a_row_at_the_end_and_other_errors_are_raised():
    def trial(lr):
        if lr > 1:
            raise NonFiniteError("Trainer: step 3: the loss is nan")
        return {"validation_loss": math.nan if lr == 1 else lr}

    result = sweep(trial, {"lr": [10, 0.5, 1, 0.1]})
    assert [row["lr"] for row in result][:2] == [0.1, 0.5] and result.best["lr"] == 0.1
    assert {row["lr"]: row.get("error") for row in result}[10] == "Trainer: step 3: the loss is nan"
    assert "the loss is nan" in str(result)
    with pytest.raises(ValueError, match="finite validation_loss, got none: Trainer: step 3"):
        _ = sweep(trial, {"lr": [2, 1]}).best
    with pytest.raises(ZeroDivisionError):
        sweep(lambda lr: 1 / 0, {"lr": [1]})


def test_a_sweep_that_was_stopped_goes_on(tmp_path):
    path = tmp_path / "deep" / "sweep.jsonl"
    stopped = Trial()

    def trial(**settings):
        if len(stopped.calls) == 5:
            raise KeyboardInterrupt
        return stopped(**settings)

    with pytest.raises(KeyboardInterrupt):
        sweep(trial, SPACE, out=path)
    path.write_text(path.read_text() + '{"settings": {"lr": 0.0')  # killed while it wrote
    rest = Trial()
    result = sweep(rest, SPACE, out=path)
    assert len(rest.calls) == 7 and not set(rest.calls) & set(stopped.calls)
    whole = sweep(Trial(), SPACE)
    assert [{**row, "seconds": 0} for row in result] == [{**row, "seconds": 0} for row in whole]
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 12
    again = Trial()
    sweep(again, SPACE, out=path)
    assert not again.calls


def test_a_trial_without_figures_is_kept_too(tmp_path):
    def trial(lr):
        raise NonFiniteError("nan")

    for _ in range(2):
        (row,) = sweep(trial, {"lr": [1]}, out=tmp_path / "s")
        assert math.isnan(row["validation_loss"]) and row["error"] == "nan"
    with pytest.raises(ValueError, match="expected 'f1' in the trials of"):
        sweep(trial, {"lr": [1]}, out=tmp_path / "s", monitor="f1")
    (tmp_path / "s").write_text("{}\n")
    with pytest.raises(ValueError, match="expected a trial of a sweep in line 1"):
        sweep(trial, {"lr": [1]}, out=tmp_path / "s")


def test_settings_of_numpy_are_kept_as_numbers(tmp_path):
    for calls in (2, 0):
        trial = Trial()
        sweep(trial, {"lr": np.linspace(0.1, 0.2, 2), "width": np.array([4])}, out=tmp_path / "s")
        assert len(trial.calls) == calls


def test_a_figure_with_the_name_of_a_setting_is_refused():
    with pytest.raises(ValueError, match=r"other names than the settings \['lr'\]"):
        sweep(lambda lr: {"validation_loss": 1, "lr": 2}, {"lr": [1]})


@pytest.mark.parametrize(
    "space,options,error,words",
    [({}, {}, ValueError, "lists of values"), ({"lr": []}, {}, ValueError, "none empty"),
     ({"lr": "abc"}, {}, ValueError, "lists of values"), ({"lr": Between(0, 1)}, {}, ValueError, "samples=N"),
     ({"lr": [1]}, {"samples": 0}, ValueError, "samples >= 1"),
     ({"lr": [1]}, {"seeds": []}, ValueError, "at least one"),
     ({"seed": [1]}, {"seeds": [1]}, ValueError, "no setting named seed"),
     ({"lr": [1]}, {"monitor": "f1"}, KeyError, "returns a dict with 'f1'")],
)  # fmt: skip
def test_refusals(space, options, error, words):
    with pytest.raises(error, match=words):
        sweep(Trial(), space, **options)
    for low, high, log in ((1, 1, False), (0, 1, True), (0, math.inf, False)):
        with pytest.raises(ValueError, match="Between: expected low < high"):
            Between(low, high, log)
