"""A loaded model is a module: it trains, moves, is saved; and what an export cannot write is said, with its place."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import weft
from onnx_checks import check_export, session
from policy import needs, require
from weft import nn
from weft.nn import functional as F
from weft.optim import SGD

pytestmark = needs("onnx", "onnxruntime")


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    )


def there_and_back(module, x, path, **options):
    return weft.onnx.load(weft.onnx.export(module, x, path, **options))


def test_gradients_are_those_of_the_module_that_was_exported(tmp_path):
    rng = np.random.default_rng(0)
    model, x = network().eval(), rng.standard_normal((5, 1, 8, 8)).astype(np.float32)
    labels = rng.integers(0, 3, 5)
    back = there_and_back(model, x, tmp_path / "m.onnx")
    assert {n for n, _ in back.named_parameters()} == {n for n, _ in model.named_parameters()}
    assert {"1.running_mean", "1.running_var"} <= {n for n, _ in back.named_buffers()}
    for m in (model, back):
        F.cross_entropy(m(weft.asarray(x)), weft.asarray(labels)).backward()
    theirs = dict(model.named_parameters())
    for name, parameter in back.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), theirs[name].grad.numpy(), rtol=1e-4, atol=1e-6)


def test_a_loaded_model_trains_and_leaves_again(tmp_path):
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((16, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 16)
    model = there_and_back(network(), x, tmp_path / "m.onnx")
    optimizer, losses = SGD(model.parameters(), lr=0.1), []
    for _ in range(40):
        loss = F.cross_entropy(model(x), weft.asarray(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    weft.save(tmp_path / "m.safetensors", model.state_dict())
    again = weft.onnx.load(tmp_path / "m.onnx")
    again.load_state_dict(weft.load(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(again(x).numpy(), model(x).numpy())
    check_export(model, [x], tmp_path / "again.onnx", 18)


def test_settings_that_a_file_holds_as_initializers_are_not_trained(tmp_path):
    """As PyTorch writes them: the bounds of a Clip and the scales of a Resize are floating point like weights."""
    from onnx import TensorProto, helper, save

    def value(name, *numbers):
        return helper.make_tensor(name, TensorProto.FLOAT, [len(numbers)] if len(numbers) > 1 else [], numbers)

    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Mul", ["x", "weight"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["held"]),
        helper.make_node("Resize", ["held", "", "scales"], ["y"], mode="linear"),
    ]
    held = [value("weight", 1.5), value("low", -1.0), value("high", 1.0), value("scales", 1, 1, 2, 2)]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3, 4])
    larger = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "clipped", [image], [larger], held)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")

    model, x = weft.onnx.load(tmp_path / "m.onnx"), rng.standard_normal((1, 2, 3, 4)).astype(np.float32)
    assert [name for name, _ in model.named_parameters()] == ["weight"]
    y = model(x)
    (want,) = session(tmp_path / "m.onnx").run(None, {"x": x})
    np.testing.assert_allclose(y.detach().numpy(), want, rtol=1e-5, atol=1e-6)
    y.sum().backward()
    slope = 4 * x[np.abs(1.5 * x) < 1].sum()  # every value counts in four others
    np.testing.assert_allclose(model.weight.grad.item(), slope, rtol=1e-4, atol=1e-4)


def test_what_is_only_ever_a_setting_is_none_for_training(tmp_path):
    """Inside a branch too, and by way of an Identity; what is a weight elsewhere stays one."""
    from onnx import TensorProto, helper, save

    def graph(nodes, name, inputs, output, held=()):
        *infos, result = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in (*inputs, output)]
        return helper.make_graph(nodes, name, infos, [result], held)

    clip = helper.make_node("Clip", ["x", "low", "same"], ["held"])
    branches = [graph([clip], "clipped", [], "held"), graph([helper.make_node("Neg", ["x"], ["n"])], "turned", [], "n")]
    nodes = [
        helper.make_node("Identity", ["high"], ["same"]),
        helper.make_node("If", ["which"], ["y"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Clip", ["y", "low", "both"], ["z"]),
        helper.make_node("Mul", ["z", "both"], ["out"]),
    ]
    held = [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("low", -1), ("high", 1), ("both", 2))]
    held.append(helper.make_tensor("which", TensorProto.BOOL, [], [True]))
    whole = graph(nodes, "whole", ["x"], "out", held)
    save(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    model, x = weft.onnx.load(tmp_path / "m.onnx"), np.asarray([-3, 0.5, 3], np.float32)
    assert [name for name, _ in model.named_parameters()] == ["both"]
    (want,) = session(tmp_path / "m.onnx").run(None, {"x": x})
    np.testing.assert_array_equal(model(x).detach().numpy(), want)


@needs("emulator")
def test_a_loaded_model_runs_on_a_device(tmp_path):
    x = np.random.default_rng(2).standard_normal((2, 5, 4)).astype(np.float32)
    model = there_and_back(nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.LayerNorm(6)), x, tmp_path / "m.onnx")
    want = model(x).numpy()
    moved = model.to("emulated")
    np.testing.assert_allclose(moved(weft.asarray(x, device="emulated")).numpy(), want, rtol=1e-4, atol=1e-5)


KEPT = """
import sys, weft
from weft.onnx import module
read = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
before = read()
model = weft.onnx.load(sys.argv[1])
print(read() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_file_is_let_go(tmp_path):
    """What is kept of a model is its arrays: the memory of the file's own messages is given back."""
    weft.onnx.export(nn.Linear(5000, 3000), np.ones((1, 5000), np.float32), tmp_path / "m.onnx")  # 60 MB
    command = [sys.executable, "-c", KEPT, str(tmp_path / "m.onnx")]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(made.stdout) < 1.5 * 60e6


def test_inputs_are_checked_against_what_the_graph_declares(tmp_path):
    model = there_and_back(nn.Bilinear(4, 3, 2), (weft.ones((5, 4)), weft.ones((5, 3))), tmp_path / "m.onnx")
    a, b = np.ones((2, 4), np.float32), np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(model(input2=b, input1=a).numpy(), model(a, b).numpy())
    for given, words in (
        ((a,), "expected the input 'input2'"),
        ((a, b, b), "expected the inputs input1, input2, got 3"),
        ((a, b[:1]), r"'input2': expected shape \('batch', 3\), got \(1, 3\)"),
        ((a.astype(np.float64), b), "'input1': expected float32, got float64"),
        ((a[:, :3], b), r"'input1': expected shape \('batch', 4\)"),
        ((a, "text"), "'input2': expected an array, got str"),
    ):
        with pytest.raises(ValueError, match=words):
            model(*given)


def test_names_of_initializers_that_a_module_needs_itself(tmp_path):
    from onnx import TensorProto, helper, numpy_helper

    infos = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, [2])] for n in ("x", "y")]
    made = helper.make_graph([helper.make_node("Mul", ["x", "training"], ["y"])], "g", *infos,
                             [numpy_helper.from_array(np.array([2, 3], np.float32), "training")])  # fmt: skip
    (tmp_path / "m.onnx").write_bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)],
                                                        ir_version=8).SerializeToString())  # fmt: skip
    model = weft.onnx.load(tmp_path / "m.onnx")
    assert list(model.state_dict()) == ["initializer.training"] and model.training is True
    assert model(np.ones(2, np.float32)).tolist() == [2, 3]


# ---- what an export says


class Whole(nn.Module):
    """One function as a module, inside of another, which errors name."""

    def __init__(self, function):
        self.inner = nn.Sequential(Inner(function))

    def forward(self, x):
        return self.inner(x)


class Inner(nn.Module):
    def __init__(self, function):
        self.function, self.weight = function, nn.Parameter(np.ones(3, np.float32))

    def forward(self, x):
        return self.function(self, x)


@weft.op
def cube(x):
    return x**3, (lambda g: 3 * g * x**2,)


def sorted_by_numpy(m, x):
    return x * weft.asarray(np.sort(x.numpy(), axis=0))


def branch(m, x):
    return x * 2 if x.numpy()[0, 0] > 0 else weft.exp(x)


def of_a_fixed_size(m, x):
    return x + weft.asarray(np.arange(x.shape[0] * 3).reshape(-1, 3) ** 2.0)


def in_place(m, x):
    y = x * 2
    y[0] = 0
    return y


REFUSED = {
    "values that leave the ops": (
        sorted_by_numpy,
        "multiply in inner.0: expected what follows the inputs to come from",
    ),
    "a branch by values": (branch, "expected the same ops whatever the inputs"),
    "a table of a fixed size": (of_a_fixed_size, r"add in inner.0: .*constants of shape \(4, 3\) and \(3, 3\)"),
    "a write": (in_place, "forward pass that writes into no array, got setitem"),
    "an op of one's own": (lambda m, x: numpy_only(x), "numpy_only in inner.0: expected an op that ONNX has"),
    "no Tensor": (lambda m, x: 3, "a module that returns Tensors, got int"),
    "a fixed batch": (lambda m, x: x.reshape(12), "expected a module that runs with other lengths"),
}


@weft.op
def numpy_only(x):
    return np.sort(np.asarray(x), axis=-1), None


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_leave_is_named_with_its_module(case, tmp_path):
    function, words = REFUSED[case]
    x = np.arange(12, dtype=np.float32).reshape(4, 3) - 2
    with pytest.raises(ValueError, match=words):
        weft.onnx.export(Whole(function), x, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_values_that_leave_the_ops_are_found_where_no_axis_is_dynamic(tmp_path):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    with pytest.raises(ValueError, match=r"constants of shape \(4, 3\) and \(4, 3\)"):
        weft.onnx.export(Whole(sorted_by_numpy), x, tmp_path / "m.onnx", dynamic_axes={})


def test_an_op_of_ones_own_is_written_out_or_by_its_own_entry(tmp_path):
    model = Whole(lambda m, x: cube(x) * m.weight)
    x = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)
    check_export(model, [x], tmp_path / "m.onnx", 18)

    from weft.onnx import exporters

    @weft.onnx.exports(cube)
    def cube_as_nodes(to, x):
        return to.node("Pow", x, to.constant(3, x.dtype))

    try:
        runtime = check_export(model, [x], tmp_path / "m.onnx", 18)
        assert runtime is not None
        import onnx

        assert [n.op_type for n in onnx.load(tmp_path / "m.onnx").graph.node] == ["Pow", "Mul"]
    finally:
        del exporters.TABLE[cube.body]


PICKED = {
    "together": lambda x, i: x[0, i, 0],
    "after an axis": lambda x, i: x[:, 0, i, 0],
    "first": lambda x, i: x[0, i],
    "before an integer": lambda x, i: x[:, i, 0],
}


@pytest.mark.parametrize("case", PICKED)
def test_integers_beside_an_array_of_indices(case, tmp_path):
    x = np.random.default_rng(5).standard_normal((3, 3, 3, 3)).astype(np.float32)
    model = Whole(lambda m, x: PICKED[case](x, np.array([[2, 0, 1], [1, 1, 0], [0, 2, 2]])) * m.weight.sum())
    path = weft.onnx.export(model, x, tmp_path / "m.onnx", dynamic_axes={})
    found = session(path).run(None, {"x": x})[0]
    np.testing.assert_allclose(found, model(weft.asarray(x)).numpy(), rtol=1e-5)


@pytest.mark.parametrize("index", ["0, :, i", ":, i, :, 0"])
def test_integers_apart_from_an_array_of_indices_are_refused(index, tmp_path):
    pick = {"0, :, i": lambda x, i: x[0, :, i], ":, i, :, 0": lambda x, i: x[:, i, :, 0]}[index]
    x = np.zeros((3, 3, 3, 3), np.float32)
    with pytest.raises(ValueError, match="arrays of indices that stand together"):
        weft.onnx.export(Whole(lambda m, x: pick(x, np.array([2, 0]))), x, tmp_path / "m.onnx", dynamic_axes={})


def test_an_input_is_not_called_as_a_parameter(tmp_path):
    with pytest.raises(ValueError, match="names of inputs that no parameter has, got 'weight'"):
        weft.onnx.export(nn.Linear(3, 2), np.ones((4, 3), np.float32), tmp_path / "m.onnx", input_names=["weight"])


def test_arguments_of_export_are_checked(tmp_path):
    model, x = nn.Linear(3, 2), np.ones((4, 3), np.float32)
    for options, words in (
        ({"opset": 16}, "an opset of 17 to 26, got 16"),
        ({"opset": 27}, "an opset of 17 to 26, got 27"),
        ({"dynamic_axes": {"y": {0: "n"}}}, "dynamic_axes of x, got 'y'"),
        ({"dynamic_axes": {"x": {2: "n"}}}, "axes of 'x' within 2"),
        ({"input_names": ["a", "b"]}, "expected 1 input_names"),
        ({"output_names": ["a", "b"]}, "expected 1 output_names"),
        ({"output_names": ["x"]}, "output_names that nothing else has"),
    ):
        with pytest.raises(ValueError, match=words):
            weft.onnx.export(model, x, tmp_path / "m.onnx", **options)
    with pytest.raises(ValueError, match="one batch along axis 0, got {'input': 4, 'weight': 3}; pass dynamic_axes"):
        weft.onnx.export(nn.Bilinear(3, 3, 2), {"input": x, "weight": x[:3]}, tmp_path / "m.onnx")
    path = weft.onnx.export(model, x, tmp_path / "m.onnx", input_names=["rows"], output_names=["scores"])
    runtime = session(path)
    assert [i.name for i in runtime.get_inputs()] == ["rows"] and [o.name for o in runtime.get_outputs()] == ["scores"]
    assert runtime.get_inputs()[0].shape == ["batch", 3] and runtime.get_outputs()[0].shape == ["batch", 2]
    assert model.training  # as it was


def test_float64_and_halves_leave_too(tmp_path):
    require("onnx")
    x = np.random.default_rng(4).standard_normal((3, 4))
    check_export(nn.Linear(4, 2, dtype=np.float64), [x], tmp_path / "m.onnx", 18)
    model = nn.Linear(4, 2, dtype=np.float16)
    check_export(model, [x.astype(np.float16)], tmp_path / "m.onnx", 18, tolerance=2e-3)


def test_activations_of_a_recurrent_layer_take_alpha_and_beta_in_order():
    from onnx import TensorProto, helper

    rng = np.random.default_rng(8)
    x, W, R = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 2, 4), (2, 5, 4), (2, 5, 5)))
    options = {"activation_alpha": [0.5, 2.0], "activation_beta": [0.25, 0.125], "hidden_size": 5}
    node = helper.make_node(
        "RNN", ["x", "W", "R"], ["y"], activations=["Affine", "ScaledTanh"], direction="bidirectional", **options
    )
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in zip("xWR", (x, W, R))]
    graph = helper.make_graph([node], "g", infos, [helper.make_empty_tensor_value_info("y")])
    model = weft.onnx.OnnxModule(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))
    y = model(x, W, R).numpy()  # (T, directions, N, H)
    functions = (lambda v: 0.5 * v + 0.25, lambda v: 2 * np.tanh(0.125 * v))
    for k, (function, order) in enumerate(zip(functions, ([0, 1, 2], [2, 1, 0]))):
        state = np.zeros((2, 5))
        for t in order:
            state = function(x[t] @ W[k].T + state @ R[k].T)
            np.testing.assert_allclose(y[t, k], state, rtol=1e-5, atol=1e-5)


def test_powers_of_integers_keep_their_digits():
    """An int64 to a power of another integer type: beyond 2**53 float64 would round."""
    from onnx import TensorProto, helper

    kinds = {"a": TensorProto.INT64, "b": TensorProto.INT32, "c": TensorProto.INT64}
    a, b, c = (helper.make_tensor_value_info(name, kind, ["n"]) for name, kind in kinds.items())
    graph = helper.make_graph([helper.make_node("Pow", ["a", "b"], ["c"])], "g", [a, b], [c])
    module = weft.onnx.OnnxModule(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    bases, exponents = [3, -2, 7, 2, -3], [39, 61, 0, -1, 3]
    wanted = [3**39, (-2) ** 61, 1, 0, -27]
    assert module(np.array(bases[:3]), np.array(exponents[:3], np.int32)).tolist() == wanted[:3]
    assert module(np.array(bases[3:]), np.array(exponents[3:], np.int32)).tolist() == wanted[3:]
