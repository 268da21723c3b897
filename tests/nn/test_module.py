"""Module: what it registers, its state, its hooks, and the path in its errors."""

import copy

import numpy as np
import pytest

import weft
from weft import nn


class Net(nn.Module):
    def __init__(self):
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.scale = nn.Parameter([2.0])
        self.heads = nn.ModuleList([nn.Linear(64, 5), nn.Linear(64, 2)])
        self.steps = nn.Buffer(np.zeros(2), persistent=False)

    def forward(self, x):
        x = self.features(x) * self.scale
        return self.heads[0](x), self.heads[1](x)


def images(n=2):
    return weft.asarray(np.random.default_rng(0).standard_normal((n, 3, 4, 4)).astype(np.float32))


# ---- attributes


def test_what_is_assigned_is_registered():
    net = Net()
    assert [n for n, _ in net.named_children()] == ["features", "heads"]
    assert [n for n, _ in net.named_parameters()] == [
        *["scale", "features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias"],
        *["heads.0.weight", "heads.0.bias", "heads.1.weight", "heads.1.bias"],
    ]
    assert [n for n, _ in net.named_buffers()] == [
        *["steps", "features.1.running_mean", "features.1.running_var", "features.1.num_batches_tracked"],
    ]
    assert "steps" not in net.state_dict()
    del net.heads
    assert len(list(net.parameters())) == 5


def test_get_submodule():
    net = Net()
    assert net.get_submodule("features.1") is net.features[1]
    assert net.get_submodule("") is net
    with pytest.raises(KeyError, match="expected one of 0, 1 in ModuleList, got '7'"):
        net.get_submodule("heads.7")


def test_a_list_of_modules_is_refused_and_a_tuple_stays_out():
    net = nn.Module()
    net.hidden = (nn.Linear(2, 2),)
    assert not list(net.parameters())
    net.layers = [nn.Linear(2, 2)]
    with pytest.raises(TypeError, match="expected nn.ModuleList at 'layers', got a list"):
        net.state_dict()


@pytest.mark.parametrize(
    "value, words",
    [
        ({"a": nn.Linear(2, 2)}, "expected nn.ModuleDict at 'parts', got a dict"),
        ([nn.Parameter([1.0])], "expected Parameters as attributes, got a list of them at 'parts'"),
        ({"a": nn.Parameter([1.0])}, "expected Parameters as attributes, got a dict of them at 'parts'"),
    ],
)
def test_other_containers_that_would_not_train_are_refused(value, words):
    net = nn.Module()
    net.parts = value
    with pytest.raises(TypeError, match=words):
        list(net.parameters())


def test_a_parameter_is_not_overwritten_by_mistake():
    layer = nn.Linear(2, 3)
    with pytest.raises(TypeError, match="expected a Parameter .* for 'weight', got Tensor"):
        layer.weight = layer.weight * 2
    layer.bias = None
    assert layer(weft.ones((1, 2))).shape == (1, 3)
    norm = nn.BatchNorm1d(3)
    norm.running_mean = weft.ones((3,))
    assert isinstance(norm.running_mean, nn.Buffer)


def test_a_shared_parameter_counts_once_and_is_saved_under_both_names():
    net = nn.ModuleDict({"embed": nn.Embedding(5, 3), "out": nn.Linear(3, 5, bias=False)})
    net["out"].weight = net["embed"].weight
    assert len(list(net.parameters())) == 1
    assert len(list(net.named_parameters(remove_duplicate=False))) == 2
    assert list(net.state_dict()) == ["embed.weight", "out.weight"]
    net.load_state_dict(net.state_dict())
    assert net["out"].weight is net["embed"].weight


def test_modes():
    net = Net()
    net.eval()
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    net.requires_grad_(False)
    assert not net(images())[0].requires_grad
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Net" and len(seen) == 9


def test_to_dtype_and_device():
    net = Net().to(weft.float64)
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float64)}
    assert net.features[1].num_batches_tracked.dtype == np.int64
    assert net.to("cpu") is net
    assert net(images().astype(np.float64))[0].dtype == np.float64


def test_zero_grad():
    net = nn.Linear(2, 3)
    net(weft.ones((1, 2))).sum().backward()
    net.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(net.weight.grad.data, 0)
    net.zero_grad()
    assert net.weight.grad is None


def test_deepcopy_is_independent():
    net = Net()
    other = copy.deepcopy(net)
    other.scale.assign(np.array([5.0]))
    assert net.scale.item() == 2.0
    assert isinstance(other.scale, nn.Parameter) and isinstance(other.steps, nn.Buffer)
    assert not other.steps.persistent


# ---- state


def test_state_round_trip():
    a, b = Net(), Net()
    a(images())  # moves the running statistics
    b.load_state_dict(a.state_dict())
    for net in (a, b):
        net.eval()
    for x, y in zip(a(images()), b(images())):
        np.testing.assert_array_equal(x.data, y.data)


def test_state_dict_is_a_snapshot():
    net = Net()
    state = net.state_dict()
    net.scale.assign(np.array([9.0]))
    assert state["scale"] == 2.0


def test_load_state_dict_is_all_or_nothing():
    net = Net()
    state, before = net.state_dict(), net.state_dict()
    state["scale"] = np.array([7.0])
    state["heads.0.weight"] = np.ones((4, 64))
    state["extra.bias"] = np.ones(3)
    del state["heads.1.bias"]
    with pytest.raises(ValueError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert "heads.0.weight: expected shape (5, 64), got (4, 64)" in message
    assert "heads.1.bias: missing, expected shape (2,)" in message
    assert "extra.bias: unexpected, got shape (3,)" in message
    assert "scale" not in message
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(ValueError, match=r"heads.0.weight"):
        net.load_state_dict(state, strict=False)
    del state["heads.0.weight"]
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["heads.0.weight", "heads.1.bias"], ["extra.bias"])
    assert net.scale.item() == 7.0


def test_load_state_dict_casts_floats_only():
    net = nn.BatchNorm1d(2)
    state = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    assert net.weight.dtype == np.float32
    state["weight"] = np.ones(2, complex)
    with pytest.raises(ValueError, match="weight: expected dtype float32, got complex128"):
        net.load_state_dict(state)


def test_loading_between_forward_and_backward_is_noticed():
    net = nn.Linear(2, 2)
    out = net(weft.Tensor(np.ones((1, 2), np.float32), requires_grad=True)).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="load_state_dict"):
        out.backward()


# ---- hooks


def test_hooks():
    layer, seen = nn.Linear(2, 2), []
    before = layer.register_forward_pre_hook(lambda m, args: seen.append(args[0].shape))
    doubled = layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    after = layer.register_forward_hook(lambda m, args, out: seen.append((m, out.shape)))
    x = weft.ones((3, 2))
    plain = layer.forward(x * 2).numpy()
    np.testing.assert_array_equal(layer(x).numpy(), plain)
    assert seen == [(3, 2), (layer, (3, 2))]
    for handle in (before, doubled, after):
        handle.remove()
        handle.remove()  # a second time does nothing
    layer(x)
    assert len(seen) == 2
    with layer.register_forward_hook(lambda m, args, out: out * 0):
        assert not layer(x).numpy().any()
    assert layer(x).numpy().any()


def test_hooks_may_remove_themselves():
    layer, seen = nn.Identity(), []

    def once(m, args, out):
        seen.append(1)
        handle.remove()

    handle = layer.register_forward_hook(once)
    layer.register_forward_hook(lambda m, args, out: seen.append(2))
    layer(1)
    layer(1)
    assert seen == [1, 2, 2]


# ---- errors


def test_errors_carry_the_path_the_shapes_and_the_cause():
    net = Net()
    with pytest.raises(ValueError) as caught:
        net(weft.ones((2, 4, 4, 3)))
    assert str(caught.value).startswith("Conv2d at features.0: conv2d: expected x with 3 channels")
    assert "NHWC" in str(caught.value)
    with pytest.raises(ValueError, match=r"Linear at heads.0: linear: expected .* must be Linear\(144, 5\)"):
        net(weft.ones((2, 3, 6, 6)))
    with pytest.raises(ValueError, match=r"Linear at 1: .*nn.Flatten\(\) before this layer"):
        nn.Sequential(nn.Identity(), nn.Linear(12, 2))(weft.ones((5, 3, 4)))
    with pytest.raises(ValueError, match=r"Conv2d at 1: .*must come before nn.Flatten"):
        nn.Sequential(nn.Flatten(), nn.Conv2d(3, 4, 3))(images())
    with pytest.raises(ValueError, match="BatchNorm1d at 0: .*is for BatchNorm2d"):
        nn.Sequential(nn.BatchNorm1d(3))(images())
    with pytest.raises(IndexError, match=r"Embedding at 0: embedding: expected indices in \[0, 4\), got 7"):
        nn.Sequential(nn.Embedding(4, 2))(np.array([1, 7]))
    with pytest.raises(ValueError, match=r"LSTM at 0: LSTM: expected input \(L, N, 3\).*input_size=3"):
        nn.Sequential(nn.LSTM(3, 4))(weft.ones((2, 2, 5)))


def test_errors_keep_their_type_and_may_be_raised_twice():
    class Odd(Exception):
        def __init__(self, code, text):
            super().__init__(code, text)

    class Fails(nn.Module):
        def forward(self, error):
            raise error

    net = nn.ModuleDict({"inner": nn.ModuleDict({"deep": Fails()})})
    net.forward = lambda x: net["inner"](x)
    net["inner"].forward = lambda x: net["inner"]["deep"](x)
    error = ValueError("no")
    for _ in range(2):
        with pytest.raises(ValueError, match="^Fails at inner.deep: no$"):
            net(error)
    with pytest.raises(Odd) as caught:
        net(Odd(3, "text"))
    assert caught.value.args == (3, "text") and caught.value.__notes__ == ["in Fails at inner.deep"]
    with pytest.raises(KeyError) as caught:
        net(KeyError("x"))
    assert caught.value.args == ("x",) and caught.value.__notes__ == ["in Fails at inner.deep"]


def test_an_error_of_the_outermost_module_is_left_alone():
    class Fails(nn.Module):
        def forward(self):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$"):
        Fails()()
    with pytest.raises(NotImplementedError, match="expected a method `forward`"):
        nn.ModuleList()()


# ---- containers and text


def test_sequential():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3 and isinstance(net[-1], nn.Linear) and isinstance(net[:2], nn.Sequential)
    net[1] = nn.Tanh()
    assert [type(m).__name__ for m in net] == ["Linear", "Tanh", "Linear"]
    net.append(nn.ReLU())
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    named = nn.Sequential({"first": nn.Linear(2, 3), "act": nn.ReLU()})
    assert list(named.state_dict()) == ["first.weight", "first.bias"]
    tail = net[2:]
    tail.append(nn.Tanh())
    assert [type(m).__name__ for m in tail] == ["Linear", "ReLU", "Tanh"]
    with pytest.raises(TypeError, match="Sequential: expected a Module at 1, got function"):
        nn.Sequential(nn.ReLU(), lambda x: x)
    with pytest.raises(KeyError, match="a name without dots"):
        nn.Sequential({"a.b": nn.ReLU()})


def test_module_list_and_dict():
    layers = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    layers.insert(1, nn.GELU())
    del layers[0]
    assert [type(m).__name__ for m in layers] == ["GELU", "Tanh"] and len(layers[:1]) == 1
    named = nn.ModuleDict({"a": nn.ReLU()})
    named["b"] = nn.Tanh()
    assert list(named) == ["a", "b"] and "b" in named and len(named.items()) == 2
    del named["a"]
    assert [n for n, _ in named.items()] == ["b"]


def test_repr():
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.ReLU())) == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n  (1): ReLU()\n)"
    )
    assert repr(nn.Conv2d(1, 2, 3, padding=1)) == "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))"
    for layer in (
        nn.LSTM(2, 3, bidirectional=True),
        nn.GELU(),
        nn.MSELoss(),
        nn.Dropout(),
        nn.MaxPool2d(2),
        nn.PReLU(),
    ):
        assert type(layer).__name__ in repr(layer)


def test_summary():
    net = Net()
    net.heads[1].requires_grad_(False)
    table = net.summary((2, 3, 4, 4))
    lines = table.splitlines()
    assert lines[0].split() == ["layer", "output", "parameters"]
    assert any(l.split() == ["features.0", "(Conv2d)", "(2,", "4,", "4,", "4)", "112"] for l in lines)
    assert lines[-1] == "576 parameters, 446 of them trained"
    assert net.training and net.features[1].num_batches_tracked.item() == 0
    assert "(2, 3, 6)" in nn.Embedding(4, 6).summary(np.zeros((2, 3), int))
