"""The learning-rate finder: its curve, its suggestion, and that it leaves no trace."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import weft
from policy import needs
from weft import nn, optim
from weft.data import ArrayDataset, DataLoader
from weft.train import RateCurve, find_learning_rate

rng = np.random.default_rng(4)
X = rng.standard_normal((96, 6)).astype("f")
Y = (X @ rng.standard_normal((6, 1)) + 1).astype("f")
FACTORS = optim.SGD, optim.Adam


def parts(optimizer=optim.SGD, **options):
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
    return model, optimizer(model.parameters(), lr=0.01, **options), DataLoader(ArrayDataset(X, Y), 16, shuffle=True)


def find(model, optimizer, loader, loss=nn.functional.mse_loss, **options):
    return find_learning_rate(model, optimizer, loss, loader, **options)


def test_too_low_crawls_too_high_diverges_and_the_suggestion_trains():
    weft.random.seed(0)
    curve = find(*parts(), lowest=1e-6, highest=100.0, steps=150)
    assert curve.diverged_at is not None and curve.suggestion < curve.lowest < curve.diverged_at
    after = {}
    for name, rate in (("low", curve.suggestion / 1000), ("found", curve.suggestion), ("high", 3 * curve.diverged_at)):
        model, optimizer, loader = parts()
        optimizer.param_groups[0]["lr"] = rate
        with np.errstate(all="ignore"):
            for _ in range(15):
                for x, y in loader:
                    loss = nn.functional.mse_loss(model(x), y)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        after[name] = loss.item()
    assert after["found"] < 0.5 * after["low"] and not after["high"] < after["found"]


@pytest.mark.parametrize("optimizer", FACTORS)
def test_everything_is_as_it_was(optimizer):
    model, optimizer, loader = parts(optimizer)
    model.eval()
    for x, y in loader:  # so that there is a state to keep
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
        break
    before = copy.deepcopy([model.state_dict(), optimizer.state_dict(), loader.state_dict(), weft.random.get_state()])
    find(model, optimizer, loader)
    after = [model.state_dict(), optimizer.state_dict(), loader.state_dict(), weft.random.get_state()]
    np.testing.assert_equal(after, before)
    assert not model.training and all(p.grad is None for p in model.parameters())


def test_a_part_that_is_not_trained_keeps_its_mode():
    model, optimizer, loader = parts()
    model[1].eval()
    find(model, optimizer, loader, steps=5)
    assert [layer.training for layer in model] == [True, False, True, True, True] and model.training


def test_losses_below_zero_and_losses_that_are_none():
    curve = find(*parts(), lambda y, t: nn.functional.mse_loss(y, t) - 100, steps=30, highest=0.01)
    assert len(curve.rates) == 30 and curve.diverged_at is None
    heights = iter([-1.0] * 10 + [2.5] * 10)
    assert len(find(*parts(), lambda y, t: (y * 0).sum() + next(heights), steps=20, smooth=0.0).rates) == 11
    with pytest.raises(ValueError, match="finite loss of the first batch, got nan"):
        find(*parts(), lambda y, t: nn.functional.mse_loss(y, t) * np.nan)


def test_an_error_leaves_no_trace_either():
    model, optimizer, loader = parts()
    before = model.state_dict()
    calls = []

    def loss(y, targets):
        calls.append(1)
        if len(calls) == 5:
            raise RuntimeError("stop")
        return nn.functional.mse_loss(y, targets)

    with pytest.raises(RuntimeError, match="stop"):
        find(model, optimizer, loader, loss, lowest=0.01)
    np.testing.assert_equal(model.state_dict(), before)
    assert optimizer.param_groups[0]["lr"] == 0.01


def test_groups_keep_the_ratio_of_their_rates():
    model, _, loader = parts()
    optimizer = optim.SGD([{"params": model[0].parameters()}, {"params": model[4].parameters(), "lr": 0.02}], lr=0.01)
    seen = []

    def loss(y, targets):
        seen.append([group["lr"] for group in optimizer.param_groups])
        return nn.functional.mse_loss(y, targets)

    curve = find(model, optimizer, loader, loss, steps=20, highest=0.1)  # more than the 6 batches of an epoch
    assert len(curve.rates) == 20 and curve.diverged_at is None
    np.testing.assert_allclose(seen, np.stack([curve.rates, 2 * curve.rates], axis=1))
    np.testing.assert_allclose(curve.rates[1:] / curve.rates[:-1], (0.1 / 1e-6) ** (1 / 19))


@pytest.mark.parametrize("stop,seen", [(4.0, 11), (4.9, 11), (5.1, 20)])
def test_the_climb_ends_where_the_loss_passes_so_many_times_its_lowest(stop, seen):
    heights = iter([1.0] * 10 + [5.0] * 10)
    curve = find(*parts(), lambda y, t: (y * 0).sum() + next(heights), steps=20, smooth=0.0, stop=stop)
    assert len(curve.rates) == seen and (curve.diverged_at is None) is (seen == 20)


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss():
    rates = np.geomspace(1e-4, 1, 41)
    smoothed = 2 - np.tanh(2 * (np.log10(rates) + 2))
    smoothed[33:] += np.linspace(0.1, 3, 8)
    curve = RateCurve(rates, smoothed[::-1], smoothed, None)
    assert curve.lowest == rates[32] and curve.suggestion == pytest.approx(rates[32] / 10)
    rising = curve._replace(smoothed=np.arange(41.0))
    assert curve.falls and not rising.falls
    with pytest.raises(ValueError, match="begin with a lower rate"):
        _ = rising.suggestion


def test_a_loss_that_is_no_number_ends_the_climb_and_is_no_point_of_the_curve():
    curve = find(*parts(), lambda y, t: nn.functional.mse_loss(y, t) * (np.nan if len(y) < 16 else 1), steps=60)
    assert np.isfinite(curve.losses).all()  # 96 samples are 6 whole batches
    model, optimizer, _ = parts()
    ragged = DataLoader(ArrayDataset(X[:40], Y[:40]), 16)
    curve = find(model, optimizer, ragged, lambda y, t: nn.functional.mse_loss(y, t) * (np.nan if len(y) < 16 else 1))
    assert len(curve.losses) == 2 and curve.diverged_at == pytest.approx(1e-6 * 1e7 ** (2 / 99))


@pytest.mark.parametrize(
    "wrong", [{"lowest": 0}, {"lowest": 2, "highest": 1}, {"steps": 2}, {"smooth": 1.0}, {"stop": 1}]
)
def test_refusals(wrong):
    with pytest.raises(ValueError, match="find_learning_rate: expected 0 < lowest < highest"):
        find(*parts(), **wrong)
    model, optimizer, loader = parts()
    with pytest.raises(TypeError, match=r"expected batches \(\*inputs, targets\)"):
        find(model, optimizer, DataLoader(X, 16))
    with pytest.raises(ValueError, match="at least one batch"):
        find(model, optimizer, DataLoader(ArrayDataset(X, Y), 100, drop_last=True))


@needs("matplotlib")
def test_it_is_drawn(tmp_path):
    rates, losses = np.geomspace(1e-4, 1, 30), np.linspace(3, 1, 30)
    for curve in (RateCurve(rates, losses, losses, 2.0), RateCurve(rates, losses, losses[::-1], None)):
        curve.save(tmp_path / "rates.png")
        assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
