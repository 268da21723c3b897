"""einops over Tensors: its functions and layers give NumPy's values, and gradients that go the same way back."""

import numpy as np
import pytest

import weft
from policy import needs

pytestmark = needs("einops")


def draw(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


CALLS = {
    "rearrange": lambda e, x: e.rearrange(x, "b c (h p) (w q) -> b (h w) (c p q)", p=2, q=3),
    "transpose": lambda e, x: e.rearrange(x, "b c h w -> w h c b"),
    "mean": lambda e, x: e.reduce(x, "b c (h 2) w -> b c h", "mean"),
    "max": lambda e, x: e.reduce(x, "b c h w -> b 1 h", "max"),
    "sum": lambda e, x: e.reduce(x, "b c h w -> ", "sum"),
    "repeat": lambda e, x: e.repeat(x, "b c h w -> b (c k) h w t", k=2, t=3),
    "list": lambda e, x: e.rearrange([x[0], x[1]], "b c h w -> c (b h) w"),
    "einsum": lambda e, x: e.einsum(x, x, "b c h w, b k h w -> b c k"),
    "pack": lambda e, x: e.pack([x, x[:, :, :, 0]], "b c *")[0],
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_are_recorded(name):
    import einops

    import weft.einops  # noqa: F401

    call, values = CALLS[name], draw(2, 3, 4, 6)
    expected = call(einops, values)
    x = weft.Tensor(values, requires_grad=True)
    out = call(einops, x)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-12)
    weights = draw(*expected.shape) if expected.shape else np.asarray(2.0)
    (out * weights).sum().backward()
    direction, eps = draw(6, 4, 3, 2).T, 1e-6
    ahead, behind = (np.sum(call(einops, values + s * eps * direction) * weights) for s in (1, -1))
    np.testing.assert_allclose((x.grad.numpy() * direction).sum(), (ahead - behind) / (2 * eps), rtol=1e-6)


def test_on_devices():
    import einops

    import weft.einops  # noqa: F401

    values = draw(2, 3, 4, 6).astype(np.float32)
    x = weft.asarray(values, device="emulated")
    for name in ("rearrange", "mean", "repeat", "einsum"):
        out = CALLS[name](einops, x)
        assert out.device == "emulated"
        np.testing.assert_allclose(out.numpy(), CALLS[name](einops, values), rtol=2e-5, atol=1e-5)


def test_the_array_api_functions_need_no_import():
    from einops import array_api

    x = weft.Tensor(draw(2, 3, 4), requires_grad=True)
    out = array_api.rearrange(x, "a b c -> (c a) b")
    np.testing.assert_array_equal(out.numpy(), np.transpose(x.numpy(), (2, 0, 1)).reshape(8, 3))
    array_api.reduce(x, "a b c -> b", "sum").sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.ones((2, 3, 4)))


def test_layers_train():
    from weft import nn, optim
    from weft.einops import EinMix, Rearrange, Reduce

    model = nn.Sequential(
        Rearrange("b (h w) -> b h w", h=2),
        EinMix("b h w -> b h o", weight_shape="w o", bias_shape="o", w=3, o=4),
        nn.ReLU(),
        Reduce("b h o -> b o", "mean"),
    )
    assert [name for name, _ in model.named_parameters()] == ["1.weight", "1.bias"]
    x, y = weft.Tensor(draw(16, 6).astype("f")), weft.zeros((16, 4))
    optimizer, losses = optim.SGD(model.parameters(), lr=0.5), []
    for _ in range(20):
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
