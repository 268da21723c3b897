"""weft.plan: counted operations against those written out by hand, memory against what a real batch holds."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from policy import needs
from weft import nn
from weft.planning import Machine

ANY = Machine("any", 1e9, 1e9, 1e-6)


def test_a_dense_layer():
    found = weft.plan(nn.Linear(8, 5), (8,), batch=10, machine=ANY)
    assert found.parameters == 45 and found.parameter_bytes == 180 and found.state_bytes == 360
    assert found.forward.flops == 2 * 10 * 8 * 5
    assert found.backward.flops == 2 * 10 * 8 * 5  # of the weight alone: the input needs no gradient
    deep = weft.plan(nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)), (8,), batch=10, machine=ANY)
    assert deep.forward.flops == 2 * 10 * (8 * 5 + 5 * 3)
    assert deep.backward.flops == 2 * 10 * (8 * 5 + 2 * 5 * 3)


def test_convolutions_with_groups_and_stride():
    model = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.Conv2d(6, 5, 1))
    found = weft.plan(model, (4, 9, 7), batch=3, machine=ANY)
    first, second = 3 * 5 * 4 * 6 * (2 * 9), 3 * 5 * 4 * 5 * 6
    assert found.forward.flops == 2 * (first + second)
    assert found.backward.flops == 2 * (first + 2 * second)


def test_attention_and_recurrence():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    found = weft.plan(layer, (10, 16), batch=5, machine=ANY)
    attention = 2 * 5 * 4 * 10 * 10 * 8  # scores and mixture, heads of 4
    dense = 5 * 10 * (16 * 48 + 16 * 16 + 2 * 16 * 32)
    assert found.forward.flops == 2 * dense + attention
    lstm = weft.plan(nn.LSTM(6, 8, batch_first=True), (7, 6), batch=5, loss=lambda out: out[0].sum(), machine=ANY)
    assert lstm.forward.flops == 2 * 5 * 7 * 32 * (6 + 8)


def test_tokens_are_given_as_they_are():
    model = nn.Sequential(nn.Embedding(11, 4), nn.Linear(4, 11))
    found = weft.plan(model, np.arange(9) % 11, batch=6, machine=ANY)
    assert found.forward.flops == 2 * 6 * 9 * 4 * 11 and found.input_bytes == 6 * 9 * 8


@pytest.mark.parametrize("batch", [50, 96])
def test_memory_is_what_a_real_batch_holds(batch):
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(8 * 49, 10))  # fmt: skip
    found = weft.plan(model, (1, 16, 16), batch=batch, machine=ANY)
    with weft.profile() as p:
        out = model(weft.random.normal((batch, 1, 16, 16)))
        (out * out).mean().backward()
    assert abs(found.activations - p.peak) <= 0.1 * p.peak


def test_time_is_arithmetic_memory_and_overhead():
    slow = Machine("slow", 1e6, 1e30, 0.0)
    found = weft.plan(nn.Linear(8, 5), (8,), batch=10, samples=95, machine=slow)
    assert found.step_seconds == pytest.approx(found.flops / 1e6)
    assert found.epoch_seconds == pytest.approx(10 * found.step_seconds)  # the last batch is smaller, and a step
    words = weft.plan(nn.Linear(8, 5), (8,), batch=10, machine=Machine("words", 1e30, 1e30, 1.0))
    assert words.step_seconds >= 3 and "words" in str(words) and "45" in str(words)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model[0].weight.grad = weft.ones((4, 6))
    before = {name: np.array(value) for name, value in model.state_dict().items()}
    weft.plan(model, (6,), batch=7, machine=ANY)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(np.asarray(value), before[name])
    assert model.training and model[0].bias.grad is None and (model[0].weight.grad.numpy() == 1).all()


def test_what_is_not_trained_has_no_state_and_no_update():
    model = nn.Sequential(nn.Linear(8, 5), nn.Linear(5, 3))
    for p in model[0].parameters():
        p.requires_grad = False
    found = weft.plan(model, (8,), batch=10, states=2, machine=ANY)
    assert found.parameters == 45 + 18 and found.parameter_bytes == 4 * 63
    assert found.state_bytes == 2 * 4 * 18 and found.update.bytes == 7 * 4 * 18
    assert found.backward.flops == 2 * 10 * 5 * 3
    for nothing in (nn.ReLU(), model[0]):
        with pytest.raises(ValueError, match="expected a parameter with requires_grad, got none of"):
            weft.plan(nothing, (8,), machine=ANY)


def test_modes_and_random_numbers_stay():
    model = nn.Sequential(nn.Linear(8, 5), nn.Dropout(0.5), nn.BatchNorm1d(5))
    trained = weft.plan(model, (8,), machine=ANY)
    model[1:].eval()
    before = [m.training for m in model.modules()], weft.random.get_state()
    assert weft.plan(model, (8,), machine=ANY) == trained  # of training, whatever mode it is in
    assert ([m.training for m in model.modules()], weft.random.get_state()) == before


class Several(nn.Module):
    """Two inputs; outputs of several kinds, one of them none."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 2)

    def forward(self, a, b):
        out = self.inner(a) + self.inner(b)
        return {"out": out, "others": [out[:, 0], None, "text"]}


@pytest.mark.parametrize("kind", [weft.float32, weft.bfloat16, weft.float64], ids=["f32", "bf16", "f64"])
def test_several_inputs_and_outputs_a_shared_layer_and_every_precision(kind):
    found = weft.plan(Several().to(kind), (4,), weft.ones((4,), dtype=kind), batch=6, machine=ANY)
    assert found.parameters == 10 and found.forward.flops == 2 * (2 * 6 * 4 * 2)
    assert found.input_bytes == 2 * 6 * 4 * np.dtype(kind).itemsize


@needs("emulator")
def test_a_model_and_an_array_on_a_device():
    model = Several().to("emulated")
    found = weft.plan(model, (4,), weft.ones((4,), device="emulated"), batch=6, machine=ANY)
    assert found.forward.flops == 2 * (2 * 6 * 4 * 2)
    assert all(p.grad is None and p.device == "emulated" for p in model.parameters())


def test_this_machine_is_measured_once():
    weft.planning.measure_machine.cache_clear()
    first = weft.plan(nn.Linear(8, 5), (8,)).machine
    assert first.flops > 1e6 and first.bandwidth > 1e6 and 0 < first.overhead < 0.01
    assert weft.plan(nn.Linear(8, 5), (8,)).machine is first


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"samples": 0}, {"states": -1}])
def test_errors(wrong):
    with pytest.raises(ValueError, match="expected inputs, batch >= 1"):
        weft.plan(nn.Linear(8, 5), (8,), machine=ANY, **wrong)
    with pytest.raises(ValueError, match="0 inputs"):
        weft.plan(nn.Linear(8, 5), machine=ANY)
