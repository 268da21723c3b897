"""Arrays of devices: what they refuse, how they move, and where things are made."""

from __future__ import annotations

import copy
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import weft
from policy import needs
from weft import nn, optim
from weft.backends import device as devices
from weft.backends.gpu.array import COLD, DeviceArray, from_host
from weft.backends.gpu.indexing import add_at

pytestmark = needs("emulator")
BF16 = np.dtype(ml_dtypes.bfloat16)


@pytest.fixture
def emulated():
    """The emulated device as the default."""
    weft.set_default_device("emulated")
    yield
    weft.set_default_device(None)


def draw(*shape, dtype=np.float32):
    return np.random.default_rng().standard_normal(shape).astype(dtype)


# -- strictness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, n: x + n,
        lambda x, n: n + x,
        lambda x, n: n @ x,
        lambda x, n: x < n,
        lambda x, n: np.maximum(x, n),
        lambda x, n: x.__setitem__(0, n[0]),
        lambda x, n: x[n[0] > 0],
        lambda x, n: np.add(x, 1, out=n),
    ],
)
def test_raw_arrays_do_not_mix_with_numpy(mix):
    n = draw(3, 3)
    with pytest.raises(TypeError, match="emulated.*numpy|numpy.*emulated|one on emulated|cpu"):
        mix(from_host(n), n)


@pytest.mark.parametrize(
    "function", [np.sin, np.sum, np.concatenate, np.linalg.norm, np.isnan, np.where, np.shape, np.fft.fft]
)
def test_numpy_functions_refuse_device_arrays(function):
    with pytest.raises(TypeError, match="expected NumPy arrays, got one on emulated"):
        function(from_host(draw(4)))


@pytest.mark.parametrize("convert", [np.asarray, np.array, np.ascontiguousarray, list, memoryview])
def test_nothing_becomes_numpy_by_itself(convert):
    x = from_host(draw(3))
    if convert is list:
        assert all(isinstance(part, DeviceArray) and part.shape == () for part in convert(x))
    else:
        with pytest.raises(TypeError):
            convert(x)
    with pytest.raises(TypeError, match=r"got one on emulated; call .numpy\(\)"):
        np.asarray(weft.Tensor(x))


def test_get_copies():
    x = from_host(np.zeros(3, np.float32))
    x.get()[...] = 1
    np.testing.assert_array_equal(x.get(), 0)


def test_results_without_axes_stay_arrays():
    x = from_host(draw(4))
    for y in (x[0], x.sum(), x.max(), x[1] + x[2], -x[3], x[0:1].reshape(())):
        assert isinstance(y, DeviceArray) and y.shape == ()


def test_only_the_committed_names_run_in_the_array_library():
    functions = {"argsort", "cumprod", "nonzero", "searchsorted", "sort", "unique"}
    linear = "cholesky det eigh eigvalsh inv qr slogdet solve svd".split()
    assert COLD == functions | {f"linalg.{name}" for name in linear}
    x = draw(5)
    np.testing.assert_array_equal(np.argsort(from_host(x)).get(), np.argsort(x))
    np.testing.assert_array_equal(np.cumprod(from_host(x), axis=0).get(), np.cumprod(x))
    np.testing.assert_array_equal(np.searchsorted(from_host(np.sort(x)), from_host(x)).get(), np.argsort(np.argsort(x)))
    with pytest.raises(TypeError, match="one device"):
        np.unique(from_host(x), x)


def test_numpy_scalars_are_weak():
    x = from_host(draw(3))
    for y in (np.float64(2) * x, x * np.float64(2), x / np.int64(2), 2.0**x):
        assert isinstance(y, DeviceArray) and y.dtype == np.float32
    np.testing.assert_array_equal((np.float64(2) * x).get(), 2 * x.get())


def test_in_place_forms_write_into_the_memory():
    n = draw(4, 3)
    x = from_host(n)
    part = x[1:3]
    part += 1
    part *= from_host(np.full(3, 2, np.float32))
    part[:, 0] -= 5
    n[1:3] = (n[1:3] + 1) * 2
    n[1:3, 0] -= 5
    np.testing.assert_allclose(x.get(), n, rtol=1e-6)
    assert part.base is x and part.pointer == x.pointer + 12


# -- views and indices ------------------------------------------------------------------------------------------------


def test_views_share_memory_and_copies_do_not():
    x = from_host(draw(4, 6))
    for view in (x.reshape(2, 12), x.T, x.swapaxes(0, 1), x[::2], x[None], x.reshape((-1,)), x[..., 3]):
        assert view.base is x and x.pointer <= view.pointer < x.pointer + x.nbytes
    apart = x.T.reshape(-1)
    assert apart.base is not x and apart.flags.c_contiguous
    np.testing.assert_array_equal(apart.get(), x.get().T.reshape(-1))
    with pytest.raises(ValueError):
        x.reshape(5, 5)


def index_cases():
    rng = np.random.default_rng()

    def at(n, *shape):
        return rng.integers(-n, n, shape)

    return {
        "one array": (at(4, 3),),
        "behind a slice": (slice(None), at(5, 2, 3)),
        "behind a number": (0, at(5, 2)),
        "apart from a number": (0, slice(None), at(6, 3)),
        "two, apart": (at(4, 3), slice(1, 4), at(6, 3)),
        "two, broadcast": (at(4, 2, 1), at(5, 3)),
        "a new axis": (None, at(4, 2), 1),
        "from the end": (Ellipsis, at(6, 4)),
        "every other": (slice(None, None, 2), at(5, 3), at(6, 3)),
        "no index at all": (at(4, 0),),
        "a mask of rows": (rng.random(4) < 0.5,),
        "a mask of two axes": (rng.random((4, 5)) < 0.5,),
        "a mask of all": (rng.random((4, 5, 6)) < 0.5,),
        "a mask behind a slice": (slice(None), rng.random(5) < 0.5),
    }


@pytest.mark.parametrize("name", index_cases())
def test_indices_with_arrays(name):
    index = index_cases()[name]
    there = tuple([from_host(i) if isinstance(i, np.ndarray) else i for i in index])
    x = draw(4, 5, 6)
    np.testing.assert_array_equal(from_host(x)[there].get(), x[index])
    values = draw(*x[index].shape)

    expected, got = x.copy(), from_host(x)
    np.add.at(expected, index, values)
    add_at(got, there, from_host(values))
    np.testing.assert_allclose(got.get(), expected, 1e-5, 1e-6)

    expected, got = x.copy(), from_host(x)
    expected[index] = values  # of positions named twice the last value counts
    got[there] = from_host(values)
    np.testing.assert_array_equal(got.get(), expected)

    expected[index] = 2.5
    got[there] = 2.5
    np.testing.assert_array_equal(got.get(), expected)


# -- Tensors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda a, b: a + b, "add: expected both on one device, got cpu and emulated"),
        (lambda a, b: b @ a, "matmul: expected both on one device, got emulated and cpu"),
        (lambda a, b: weft.linear(a, b, a[0]), "linear: expected all on one device, got cpu and emulated"),
        (lambda a, b: weft.concat([b, a]), "concat: expected both on one device, got emulated and cpu"),
        (lambda a, b: weft.conv2d(a.reshape((1, 1, 3, 3)), b.reshape((1, 1, 3, 3))), "conv2d: expected both on one"),
        (lambda a, b: weft.conv_transpose2d(b.reshape((1, 1, 3, 3)), a.reshape((1, 1, 3, 3))), "conv_transpose2d: exp"),
        (lambda a, b: a[b > 0], "getitem: expected both on one device, got cpu and emulated"),
        (lambda a, b: b.__setitem__(0, a[0]), "setitem: expected both on one device, got emulated and cpu"),
        (lambda a, b: weft.take(b, weft.asarray([0]), axis=0), "take: expected both on one device"),
        (lambda a, b: b * np.ones((3, 3), np.float32), "multiply: expected both on one device, got emulated and cpu"),
        (lambda a, b: b.sum().backward(weft.asarray(1.0)), "backward: expected both on one device"),
    ],
)
def test_mixing_devices_names_both(call, words):
    a = weft.asarray(draw(3, 3))
    b = weft.asarray(draw(3, 3), device="emulated")
    b.requires_grad = True
    with pytest.raises(TypeError, match=words):
        call(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, BF16, np.int64, np.uint8, bool], ids=str)
def test_there_and_back(dtype):
    values = (draw(3, 5) * 3).astype(dtype)
    x = weft.asarray(values[:, ::2])
    there = x.to_device("emulated")
    assert (x.device, there.device, there.dtype, there.shape) == ("cpu", "emulated", np.dtype(dtype), (3, 3))
    for back in (there.numpy(), there.to_device("cpu").numpy(), np.array(there.tolist()).astype(dtype)):
        np.testing.assert_array_equal(back, values[:, ::2])
    assert there.to_device("emulated") is there
    assert not there.numpy().flags.writeable


def test_what_a_tensor_tells_of_a_device():
    x = weft.asarray([[1.5, 2.0]], device="emulated")
    assert repr(x) == "Tensor([[1.5, 2. ]], device='emulated')"
    assert x[0, 1].item() == 2.0 and float(x[0, 0]) == 1.5 and bool(x[0, 0] > 1) and x.tolist() == [[1.5, 2.0]]
    twin = copy.deepcopy(x)
    twin[0, 0] = 7.0
    assert twin.device == "emulated" and x.tolist() == [[1.5, 2.0]] and twin.tolist() == [[7.0, 2.0]]


def test_memory_is_shared_through_dlpack():
    host = draw(3)
    x = weft.from_dlpack(host)
    assert x.numpy().ctypes.data == host.ctypes.data == np.from_dlpack(x).ctypes.data
    assert weft.from_dlpack(host, device="emulated").device == "emulated"
    assert weft.from_dlpack(host, copy=True).numpy().ctypes.data != host.ctypes.data
    with pytest.raises(BufferError, match="got one on emulated"):
        np.from_dlpack(x.to_device("emulated"))
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(weft.Tensor(host, requires_grad=True))


def test_moving_is_recorded():
    x = weft.Tensor(draw(3), requires_grad=True)
    (x.to_device("emulated") * 3).to_device("cpu").sum().backward()
    assert x.grad.device == "cpu"
    np.testing.assert_array_equal(x.grad.numpy(), [3, 3, 3])
    second = weft.grad(weft.grad(lambda v: (v.to_device("emulated") ** 3).sum()))(weft.asarray(2.0))
    assert (second.item(), second.device) == (12.0, "cpu")


def test_writes_are_seen_on_devices():
    x = weft.asarray(draw(3), device="emulated")
    x.requires_grad = True
    y = x * 2
    loss = (y * y).sum()
    with weft.no_grad():
        y[0] = 1.0
    with pytest.raises(RuntimeError, match="multiply saved an array of shape .* that setitem has written since"):
        loss.backward()
    z = x * 2
    (z[:2] * z[:2]).sum().backward()  # another part of the memory may be written
    with pytest.raises(RuntimeError, match="read-only"), weft.no_grad():
        weft.broadcast_to(x.detach(), (2, 3))[0] = 1.0


def test_gradients_of_slices_are_laid_together():
    x = weft.asarray(draw(4, 6), device="emulated")
    x.requires_grad = True
    a, b = weft.split(x, 3, axis=1)
    (a * 2 + b * x[:, 1:4]).sum().backward()
    host = weft.Tensor(x.numpy(), requires_grad=True)
    a, b = weft.split(host, 3, axis=1)
    (a * 2 + b * host[:, 1:4]).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), host.grad.numpy(), 1e-6)


# -- names and the default --------------------------------------------------------------------------------------------


def test_creation_takes_a_device_and_a_default(emulated):
    assert weft.default_device() == "emulated"
    made = [
        weft.zeros((2,)), weft.ones((2,)), weft.full((2,), 3), weft.empty((2,)), weft.arange(3), weft.eye(2),
        weft.linspace(0, 1, 3), weft.asarray([1.0]), weft.asarray(draw(2)), weft.Tensor([1.0]), nn.Parameter([1.0]),
        weft.random.normal((2,)), weft.random.uniform((2,)), weft.random.permutation(3), *weft.rope_tables(2, 4),
        *nn.Linear(2, 3).parameters(), *nn.BatchNorm1d(3).buffers(), *weft.meshgrid(weft.arange(2), weft.arange(3)),
    ]  # fmt: skip
    assert {x.device for x in made} == {"emulated"}
    assert weft.zeros((2,), device="cpu").device == "cpu"
    there = weft.zeros((2,), device="cpu")
    assert weft.ones_like(there).device == "cpu" and weft.asarray(there).device == "cpu"
    assert weft.full((2,), 3).dtype == np.int64 and weft.full((2,), 3.0).dtype == np.float32


def test_numbers_are_the_same_everywhere():
    for draw_ in (weft.random.normal, weft.random.uniform):
        for dtype in (np.float32, np.float64, np.float16, BF16):
            weft.random.seed(3)
            here = draw_((5, 7), -1.5, 2.0, dtype=dtype)
            weft.random.seed(3)
            there = draw_((5, 7), -1.5, 2.0, dtype=dtype, device="emulated")
            np.testing.assert_array_equal(here.numpy(), there.numpy())


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cuda:x", "emulated:0", "", 0])
def test_unknown_names_are_refused(name):
    for call in (lambda: weft.zeros((2,), device=name), lambda: weft.set_default_device(name)):
        with pytest.raises(ValueError, match="device: expected one of cpu, emulated.*, got"):
            call()


def test_the_environment_chooses_the_default(monkeypatch):
    monkeypatch.setenv("WEFT_DEVICE", "emulated")
    assert weft.zeros((1,)).device == "emulated"
    monkeypatch.setenv("WEFT_DEVICE", "tpu")
    with pytest.raises(ValueError, match="WEFT_DEVICE: device: expected one of"):
        weft.zeros((1,))
    monkeypatch.setenv("WEFT_DEVICE", "")
    assert weft.default_device() == ("cuda:0" if devices.usable() else "cpu")


def test_the_default_is_decided_without_cupy():
    code = "import weft, sys; weft.zeros((2,)); print('cupy' in sys.modules, 'weft.backends.gpu' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"] or devices.usable()


# -- what is made of arrays -------------------------------------------------------------------------------------------


def test_modules_and_their_optimizers_move():
    weft.random.seed(0)
    x, t = draw(6, 4), draw(6, 2)
    losses = {}
    for path in (("cpu", "cpu"), ("emulated", "emulated"), ("cpu", "emulated"), ("emulated", "cpu")):
        weft.random.seed(1)
        model = nn.Linear(4, 2)
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        losses[path] = []
        for device in path:
            model.to(device)
            for _ in range(2):
                optimizer.zero_grad()
                loss = weft.mse_loss(model(weft.asarray(x, device=device)), weft.asarray(t, device=device))
                loss.backward()
                optimizer.step()
                losses[path].append(loss.item())
            assert {weft.Tensor(state["exp_avg"]).device for state in optimizer.state.values()} == {device}
    for path, values in losses.items():
        np.testing.assert_allclose(values, losses["cpu", "cpu"], 1e-5, err_msg=str(path))


def test_a_summary_runs_where_the_model_is():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).to("emulated")
    assert "(1, 3)" in model.summary((1, 4)) and "(5, 3)" in model.summary((5, 4))
    assert copy.deepcopy(model)[0].weight.device == "emulated"


def test_checkpoints_go_from_any_device_to_any(tmp_path):
    for source, target in (("cpu", "emulated"), ("emulated", "cpu"), ("emulated", "emulated")):
        one, other = nn.BatchNorm1d(3).to(source), nn.BatchNorm1d(3).to(target)
        one(weft.asarray(draw(5, 3), device=source))
        state = one.state_dict()
        assert all(type(value) is np.ndarray for value in state.values())
        weft.save(tmp_path / "model.safetensors", {"model": state, "raw": one.running_mean.data})
        loaded = weft.load(tmp_path / "model.safetensors")
        other.load_state_dict(loaded["model"])
        assert other.running_mean.device == target
        np.testing.assert_array_equal(other.running_mean.numpy(), one.running_mean.numpy())
        np.testing.assert_array_equal(loaded["raw"], one.running_mean.numpy())

        optimizer = optim.SGD(one.parameters(), lr=0.1, momentum=0.9)
        (one.weight * 2).sum().backward()
        optimizer.step()
        twin = optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
        twin.load_state_dict(optimizer.state_dict())
        (state,) = twin.state.values()
        assert weft.Tensor(state["momentum_buffer"]).device == target


def test_batches_go_where_they_are_wanted(emulated):
    data = weft.data.ArrayDataset(draw(6, 3), np.arange(6))
    assert {t.device for batch in weft.data.DataLoader(data, 4) for t in batch} == {"emulated"}
    assert {t.device for batch in weft.data.DataLoader(data, 4, device="cpu") for t in batch} == {"cpu"}


def test_the_trainer_works_on_the_models_device():
    losses = []
    for options in ({}, {"device": "emulated"}):
        weft.random.seed(2)
        model = nn.Linear(3, 2)
        loader = weft.data.DataLoader(
            weft.data.ArrayDataset(np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3), np.arange(8) % 2), 4
        )
        trainer = weft.train.Trainer(
            model, optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss(), metrics=["accuracy"],
            clip_norm=0.1, progress=False, **options,
        )  # fmt: skip
        records = trainer.fit(loader, loader, epochs=2)
        losses.append([r["validation_loss"] for r in records])
        assert next(model.parameters()).device == options.get("device", "cpu")
        assert trainer.predict(loader).shape == (8, 2)
    np.testing.assert_allclose(losses[1], losses[0], 1e-5)


def test_clipping_does_not_wait():
    for norm_type in (2.0, 1.0, float("inf")):
        values = draw(4, 3)
        norms = {}
        for device in ("cpu", "emulated"):
            p = nn.Parameter(weft.zeros((4, 3), device=device))
            p.grad = weft.asarray(values.copy(), device=device)
            norm = nn.utils.clip_grad_norm_([p], 0.5, norm_type)
            assert norm.device == device
            norms[device] = (norm.item(), p.grad.numpy())
        np.testing.assert_allclose(norms["cpu"][0], norms["emulated"][0], 1e-5)
        np.testing.assert_allclose(norms["cpu"][1], norms["emulated"][1], 1e-5)


def there(*shape):
    return weft.ones(shape, device="emulated")


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda i: weft.take(i * 1.0, i, axis=0), r"take: expected indices below 3 along axis 0 .*, got 7"),
        (lambda i: weft.embedding(i, there(5, 2)), r"embedding: expected indices in \[0, 5\), got 7"),
        (lambda i: weft.embedding(i - 8, there(5, 2)), r"embedding: .* in \[0, 5\), got -[678]"),
        (lambda i: weft.scatter_add(there(3, 2), i, rows=7), r"scatter_add: .* in \[0, 7\), got 7"),
        (lambda i: weft.cross_entropy(there(3, 4), i), r"cross_entropy: expected labels in \[0, 4\), got 7"),
        (lambda i: weft.cross_entropy(there(3, 8), i - 2), r"cross_entropy: .* in \[0, 8\), got -1"),
        (lambda i: weft.nll_loss(there(3, 4), i), r"nll_loss: expected labels in \[0, 4\), got 7"),
        (lambda i: (i * 1.0)[i], "take: .* got 7"),
        (lambda i: there(3, 3)[i, i], "take: expected indices"),
    ],
)
def test_what_is_out_of_range_is_raised_with_the_next_value(call, words):
    """Kernels cannot raise; nothing else is lost, and once raised it is forgotten."""
    indices = weft.asarray([2, 7, 1], device="emulated")
    out = call(indices)
    with pytest.raises(IndexError, match=words):
        out.numpy()
    assert indices.tolist() == [2, 7, 1]


def test_ignored_labels():
    labels = weft.asarray([1, -100, 0], device="emulated")
    assert weft.cross_entropy(there(3, 4), labels).item() == pytest.approx(np.log(4))


def test_nanguard_reads_devices():
    with weft.nanguard(), pytest.raises(FloatingPointError, match=r"log made -inf at \(1,\)"):
        weft.log(weft.asarray([1.0, 0.0], device="emulated"))


def test_one_hot_names_a_label_out_of_range():
    labels = weft.asarray([0, 5], device="emulated")
    with pytest.raises(IndexError, match=r"one_hot: expected indices in \[0, 3\), got 5"):
        nn.functional.one_hot(labels, 3).numpy()
