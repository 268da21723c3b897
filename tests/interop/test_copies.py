"""copy.copy, copy.deepcopy and pickling of Tensors and Modules, and the buffer protocol."""

import copy
import multiprocessing
import pickle
import sys

import numpy as np
import pytest

import weft
from weft import nn


def draw(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def sent(x, protocol=pickle.HIGHEST_PROTOCOL):
    return pickle.loads(pickle.dumps(x, protocol))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_a_pickled_tensor_is_a_copy(dtype, protocol):
    dtype = weft.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    x = weft.Tensor(draw(4, 3).astype(dtype)[::2].T)
    twin = sent(x, protocol)
    assert twin.dtype == x.dtype and twin.device == "cpu" and not twin.requires_grad
    np.testing.assert_array_equal(twin.numpy(), x.numpy())
    twin[0, 0] = x.data.dtype.type(not twin[0, 0].item())
    assert twin[0, 0].item() != x[0, 0].item()


def test_what_belongs_to_a_tensor_goes_with_it():
    x = weft.Tensor(draw(3), requires_grad=True)
    (x * x).sum().backward()
    x.register_hook(lambda g: g * 0)
    for twin in (sent(x), copy.deepcopy(x)):
        assert twin.requires_grad and twin.is_leaf
        np.testing.assert_array_equal(twin.grad.numpy(), x.grad.numpy())
        twin.grad = None
        (3 * twin).sum().backward()  # the hook stayed behind
        np.testing.assert_array_equal(twin.grad.numpy(), [3, 3, 3])
    emulated = sent(weft.asarray(draw(3), device="emulated"))
    assert emulated.device == "emulated"
    buffer = nn.parameter.Buffer(draw(2), persistent=False)
    assert type(sent(buffer)) is nn.parameter.Buffer and sent(buffer).persistent is False


def test_results_are_refused_with_their_op():
    y = weft.Tensor(draw(3), requires_grad=True).exp()
    for send in (pickle.dumps, copy.deepcopy):
        with pytest.raises(RuntimeError, match="got the result of exp"):
            send(y)
    np.testing.assert_array_equal(sent(y.detach()).numpy(), y.numpy())


def test_a_shallow_copy_shares_memory_and_history():
    x = weft.Tensor(draw(3), requires_grad=True)
    y = x * 2
    twin = copy.copy(y)
    assert twin.data is y.data and twin.node is y.node
    twin.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 2, 2])
    parameter = nn.Parameter(draw(3))
    assert type(copy.copy(parameter)) is nn.Parameter and copy.copy(parameter).data is parameter.data


def test_shared_parameters_stay_shared():
    model = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 5, bias=False))
    model[2].weight = model[0].weight
    for twin in (sent(model), copy.deepcopy(model)):
        assert twin[2].weight is twin[0].weight and twin[0].weight is not model[0].weight
        tokens = weft.asarray([1, 4])
        np.testing.assert_array_equal(twin(tokens).numpy(), model(tokens).numpy())


LAYERS = {
    "batch_norm": lambda: nn.BatchNorm2d(3),
    "conv": lambda: nn.Conv2d(1, 2, 3),
    "lstm": lambda: nn.LSTM(3, 4, num_layers=2),
    "attention": lambda: nn.MultiheadAttention(4, 2),
    "transformer": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "dropout": lambda: nn.Dropout(0.2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_pickled(name):
    layer = LAYERS[name]()
    twin = sent(layer)
    state, other = layer.state_dict(), twin.state_dict()
    assert list(state) == list(other) and repr(twin) == repr(layer)
    for key, value in state.items():
        np.testing.assert_array_equal(other[key], value)


def work(model, x):
    return model(x).detach()


def test_modules_and_tensors_go_to_other_processes():
    model, x = nn.Linear(3, 2), weft.Tensor(draw(4, 3))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        got = pool.apply(work, (model, x))
    np.testing.assert_array_equal(got.numpy(), model(x).numpy())


# ---- the buffer protocol


@pytest.mark.skipif(sys.version_info < (3, 12), reason="classes have no buffers before Python 3.12")
def test_memoryview_is_the_memory():
    x = weft.Tensor(draw(2, 3))
    view = memoryview(x)
    assert view.shape == (2, 3) and view.format == "f" and view.readonly
    x[0, 1] = 5
    assert view[0, 1] == 5


def test_who_asks_for_a_buffer():
    x = weft.Tensor(draw(2, 3))
    assert x.__buffer__(0).readonly
    writable = x.__buffer__(1)  # inspect.BufferFlags.WRITABLE
    writable[1, 2] = 7
    assert x[1, 2].item() == 7
    with pytest.raises(BufferError, match="got one on emulated"):
        x.to_device("emulated").__buffer__(0)
    with pytest.raises(BufferError, match="requires no gradient"):
        weft.Tensor(draw(2), requires_grad=True).__buffer__(0)
    with pytest.raises(BufferError, match="read-only"):
        weft.broadcast_to(x, (4, 2, 3)).__buffer__(1)
    with pytest.raises(BufferError):
        x.astype(weft.bfloat16).__buffer__(0)


def test_a_write_through_a_buffer_is_known_to_the_tape():
    weights, x = weft.Tensor(draw(3)), weft.Tensor(draw(3), requires_grad=True)
    loss = (x * weights).sum()
    weights.__buffer__(1)[0] = 4
    with pytest.raises(RuntimeError, match="buffer has written"):
        loss.backward()


def test_only_cuda_has_a_cuda_array_interface():
    for device in ("cpu", "emulated"):
        assert not hasattr(weft.zeros((2,), device=device), "__cuda_array_interface__")
