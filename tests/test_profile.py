"""weft.profile: what ran is named, put to its module, timed and counted; and the trace is well formed."""

import json
import re
import threading

import numpy as np
import pytest

import weft
from policy import needs
from weft import nn, optim
from weft.backends.registry import PRIMITIVES


class Block(nn.Module):
    def __init__(self):
        self.norm = nn.LayerNorm(16)
        self.up = nn.Linear(16, 8)

    def forward(self, x):
        return self.up(self.norm(x)).relu()


def training(device):
    weft.random.seed(0)
    model = nn.Sequential(nn.Linear(6, 16), Block(), nn.Linear(8, 3)).to(device=device)
    x = weft.asarray(np.random.default_rng(0).standard_normal((5, 6)).astype("f"), device=device)
    y = weft.asarray([0, 1, 2, 0, 1], device=device)
    return model, x, y, nn.CrossEntropyLoss(), optim.AdamW(model.parameters())


def step(model, x, y, criterion, optimizer):
    loss = criterion(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@pytest.fixture(scope="module", params=["cpu", pytest.param("emulated", marks=needs("emulator"))])
def profiled(request):
    parts = training(request.param)
    step(*parts)
    with weft.profile() as p:
        with p.span("warm"):
            parts[1] * 2
        step(*parts)
    return p, request.param


def ops(p):
    return [event for event in p.events if event.kind == "op"]


def test_each_op_is_put_to_its_module_forward_and_backward(profiled):
    p, _ = profiled
    found = {(event.module, event.name, event.direction) for event in ops(p)}
    for module, name in (("0", "linear"), ("1.norm", "layer_norm"), ("1.up", "linear"), ("1", "relu"), ("2", "linear"),
                         ("CrossEntropyLoss", "cross_entropy")):  # fmt: skip
        assert {(module, name, "forward"), (module, name, "backward")} <= found
    assert ("warm", "multiply", "forward") in found
    assert all(event.module for event in ops(p))


def test_shapes_entries_and_kernels(profiled):
    p, device = profiled
    forward = next(e for e in ops(p) if (e.module, e.direction) == ("1.norm", "forward"))
    assert forward.shapes == ((5, 16), (16,), (16,)) and forward.dtypes == ("float32",) * 3
    names = {name for event in ops(p) for name in event.ran()}
    if device == "emulated":
        assert forward.ran() == ["gpu.norm.layer_norm", "layer_norm"]
        kernels = [e for e in p.events if e.kind == "kernel"]
        assert kernels and all(e.thread == "emulated" and e.seconds > 0 for e in kernels)
        assert {"gemm_simt", "cross_entropy"} & names
        assert forward.device_seconds() <= forward.seconds
    elif weft.which("layer_norm", *[np.ones(2, "f")] * 3) != "reference":
        assert forward.ran() == ["cpu.norm.layer_norm"]
    update = [e for e in p.events if e.kind == "entry" and e.inside is None]
    assert [e.name.rpartition(".")[2] for e in update] == ["adam"] and update[0].direction == ""


def test_events_nest(profiled):
    p, _ = profiled
    for event in p.events:
        if event.inside is not None and event.kind != "kernel":
            assert event.inside.start <= event.start
            assert event.start + event.seconds <= event.inside.start + event.inside.seconds + 1e-9
    assert [e.start for e in p.events] == sorted(e.start for e in p.events)
    assert sum(e.seconds for e in ops(p)) <= p.seconds


def test_the_trace(profiled, tmp_path):
    p, device = profiled
    p.export_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    events = trace["traceEvents"]
    complete = [e for e in events if e["ph"] == "X"]
    assert len(complete) == len(p.events) and {e["ph"] for e in events} == {"M", "X", "C"}
    for e in complete:
        assert e["dur"] >= 0 and 0 <= e["ts"] <= p.seconds * 1e6 and isinstance(e["tid"], int) and e["name"]
    names = {e["name"] for e in complete}
    assert {"1: Block", "1.norm: LayerNorm", "Sequential", "layer_norm backward", "warm"} <= names
    tracks = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name"}
    assert ("emulated" in tracks) == (device == "emulated")
    for track in tracks.values():  # slices of one track lie inside or beside one another, or viewers drop them
        ends = []
        for e in sorted((e for e in complete if e["tid"] == track), key=lambda e: (e["ts"], -e["dur"])):
            while ends and ends[-1] <= e["ts"] + 2e-3:
                ends.pop()
            assert not ends or e["ts"] + e["dur"] <= ends[-1] + 2e-3
            ends.append(e["ts"] + e["dur"])
    assert any(e["args"].get("ran") for e in complete)


def test_the_table(profiled):
    p, device = profiled
    lines = p.table().splitlines()
    assert lines[0].split()[:4] == ["module", "op", "pass", "ran"] and ("device ms" in lines[0]) == (device != "cpu")
    assert any(line.startswith("1.norm") and "backward" in line and "5x16" in line for line in lines)
    by_module = p.table(by=("module",), rows=2).splitlines()
    assert len(by_module) == 2 + 2 + 2 and by_module[-2].startswith("... and ")
    shares = re.findall(r"([\d.]+)%", p.table(by=("pass",), rows=None))
    assert len(shares) == 3 and abs(sum(map(float, shares)) - 100) < 0.3
    with pytest.raises(ValueError, match="out of module, op, pass"):
        p.table(by=("time",))
    assert repr(p) == p.table()


def test_memory_is_that_of_results():
    x = weft.ones((1000,))
    with weft.profile() as p:
        y = x + 1
        z = y * 2
        view = z[10:20]
        del z
        kept = view + 1
        del y, view
    assert [(event.name, event.made) for event in ops(p)] == [
        ("add", 4000),
        ("multiply", 4000),
        ("getitem", 0),
        ("add", 40),
    ]
    assert p.peak == 8040 and p.live[-1][1] == kept.nbytes == 40
    with weft.profile(memory=False) as p:
        x + 1
    assert not p.live and not p.peak


def test_nothing_stays_behind():
    parts = training("cpu")
    expected = [step(*parts).item() for _ in range(3)]
    parts = training("cpu")
    with weft.profile():
        got = [step(*parts).item() for _ in range(2)]
        loss = parts[3](parts[0](parts[1]), parts[2])
        with pytest.raises(RuntimeError, match="one profile at a time"), weft.profile():
            pass
    assert got == expected[:2]
    loss.backward()  # what was recorded in the block works after it
    for primitive in PRIMITIVES.values():
        assert not any(hasattr(entry, "__wrapped__") for entry in primitive.found.values())
    from weft.backends import tracing
    from weft.nn import module

    assert tracing.state.tracer is None and module.watch is None


def test_an_error_ends_the_profile():
    with pytest.raises(ValueError, match="linear"), weft.profile() as p:
        nn.Sequential(nn.Linear(2, 3))(weft.ones((4, 5)))
    assert [e.name for e in p.events if e.kind == "module"] == ["Sequential", "Linear"]
    assert weft.ones((2,)).sum().item() == 2


def test_threads_have_tracks_of_their_own():
    def work():
        (weft.ones((3,)) + 1).sum()

    with weft.profile() as p:
        thread = threading.Thread(target=work)
        thread.start()
        work()
        thread.join()
    assert len({e.thread for e in ops(p)}) == 2 and len(ops(p)) == 4


def test_gradients_of_gradients_and_guards_go_together():
    x = weft.Tensor(np.array([0.5, 1.5]), requires_grad=True)
    with weft.profile() as p, weft.nanguard():
        (g,) = weft.autograd.grad((x.exp() * x).sum(), [x], create_graph=True)
        g.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(x.numpy()) * (2 + x.numpy()))
    assert {"exp", "multiply"} <= {e.name for e in ops(p)}


def test_writes_to_what_was_saved_are_still_seen():
    x = weft.Tensor(np.ones(3), requires_grad=True)
    w = weft.ones((3,), dtype=np.float64)
    with weft.profile():
        y = (x * w).sum()
        w[0] = 2.0
        with pytest.raises(RuntimeError, match="has written since"):
            y.backward()


def test_which_tells_the_entry_while_a_profile_is_on():
    x = np.ones((2, 3), np.float32)
    before = weft.which("softmax", x)
    with weft.profile():
        weft.softmax(weft.Tensor(x))
        assert weft.which("softmax", x) == before
    assert weft.which("softmax", x) == before


def test_a_span_around_a_model_keeps_the_paths_of_its_modules():
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), weft.ones((2, 4))
    with weft.profile() as p:
        with p.span("forward"):
            model(x)
    assert {e.module for e in p.events if e.name == "linear"} == {"0", "1"}
