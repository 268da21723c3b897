"""A layer of ours beside PyTorch's: the same weights by name, the same input, then values and gradients compared."""

import numpy as np
import pytest

import weft

torch = pytest.importorskip("torch", reason="could not import 'torch' (pip install 'weft[peers]')")

TOLERANCE = 1e-5  # of the largest element, in float32


def close(ours, theirs, what, tolerance=TOLERANCE):
    """Fail where an element differs by more than `tolerance` of the largest one."""
    ours = np.asarray(ours.data if isinstance(ours, weft.Tensor) else ours)
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, PyTorch's {theirs.shape}"
    if theirs.dtype.kind == "f":
        assert ours.dtype == theirs.dtype, f"{what}: dtype {ours.dtype}, PyTorch's {theirs.dtype}"
    if not theirs.size:
        return
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    scale = np.max(np.abs(theirs[np.isfinite(theirs)]), initial=0.0)
    error = np.max(np.where(same, 0.0, np.abs(np.where(same, 0, ours - theirs))))
    assert error <= tolerance * max(scale, 1e-3), f"{what}: differs by {error:.2e}, the largest element is {scale:.2e}"


def flat(out):
    """The arrays of an output that may be nested."""
    if isinstance(out, (tuple, list)):
        return [x for part in out for x in flat(part)]
    return [] if out is None else [out]


def pair(array, grad=True):
    """An array as (Tensor of ours, Tensor of PyTorch's), recorded where it is floating."""
    array = np.asarray(array)
    floating = array.dtype.kind == "f"
    return weft.Tensor(array.copy(), floating and grad), torch.tensor(array, requires_grad=floating and grad)


def load(ours, theirs):
    """PyTorch's state by name, which has to fit exactly."""
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    assert list(state) == list(ours.state_dict()), "names or their order differ from PyTorch's"
    ours.load_state_dict(state)


def compare(ours, theirs, inputs, call=None, tolerance=TOLERANCE, rng=None, steps=1):
    """Outputs, gradients of inputs and parameters, and buffers of `call(module, *inputs)` agree.

    inputs: arrays; floating ones get gradients, compared too. steps: forward passes before the one that is compared.
    """
    rng = rng or np.random.default_rng(0)
    call = call or (lambda module, *args: module(*args))
    load(ours, theirs)
    pairs = [pair(x) for x in inputs]
    for _ in range(steps):
        mine, reference = (flat(call(m, *[p[i] for p in pairs])) for i, m in enumerate((ours, theirs)))
    assert len(mine) == len(reference)
    total, reference_total = 0, 0
    for k, (a, b) in enumerate(zip(mine, reference)):
        close(a, b, f"output {k}", tolerance)
        if b.requires_grad:
            g = rng.standard_normal(tuple(b.shape)).astype(b.detach().numpy().dtype)
            total = total + (a * weft.asarray(g)).sum()
            reference_total = reference_total + (b * torch.tensor(g)).sum()
    total.backward()
    reference_total.backward()
    for k, (a, b) in enumerate(pairs):
        if b.requires_grad and b.grad is not None:
            close(a.grad, b.grad, f"gradient of input {k}", tolerance)
    own = dict(ours.named_parameters())
    for name, b in theirs.named_parameters():
        if b.grad is not None:
            close(own[name].grad, b.grad, f"gradient of {name}", tolerance)
    for name, b in theirs.named_buffers():
        close(dict(ours.named_buffers())[name], b, f"buffer {name}", tolerance)
