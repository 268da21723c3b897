"""einops over Tensors: importing this module teaches einops' functions Weft, and has its layers as Weft's.

    import weft.einops
    einops.rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=4, q=4)      # recorded, on any device

einops.array_api's functions need no import: they find Weft through `__array_namespace__`.
"""

from __future__ import annotations

from typing import Any

from einops._backends import AbstractBackend
from einops.layers import RearrangeMixin, ReduceMixin
from einops.layers._einmix import _EinmixMixin

from weft import ops
from weft.autograd import Tensor
from weft.nn.init import uniform_
from weft.nn.module import Module, is_float
from weft.nn.parameter import Parameter

__all__ = ["EinMix", "Rearrange", "Reduce"]


class WeftBackend(AbstractBackend):
    """What einops asks of a framework. einops finds it among the subclasses of its own class."""

    framework_name = "weft"

    def is_appropriate_type(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor)

    def from_numpy(self, x: Any) -> Tensor:
        return Tensor(x)

    def to_numpy(self, x: Tensor) -> Any:
        return x.numpy()

    def arange(self, start: int, stop: int) -> Tensor:
        return ops.arange(start, stop)

    def reshape(self, x: Tensor, shape: Any) -> Tensor:
        return ops.reshape(x, tuple(shape))

    def transpose(self, x: Tensor, axes: Any) -> Tensor:
        return ops.permute_dims(x, tuple(axes))

    def reduce(self, x: Tensor, operation: str, axes: Any) -> Tensor:
        return getattr(ops, operation)(x, axis=tuple(axes))

    def stack_on_zeroth_dimension(self, tensors: list[Tensor]) -> Tensor:
        return ops.stack(tensors)

    def add_axis(self, x: Tensor, new_position: int) -> Tensor:
        return ops.expand_dims(x, axis=new_position)

    def tile(self, x: Tensor, repeats: Any) -> Tensor:
        shape = tuple([n * k if n == 1 else n for n, k in zip(x.shape, repeats, strict=True)])
        return ops.broadcast_to(x, shape)  # einops tiles axes of length 1 alone

    def concat(self, tensors: list[Tensor], axis: int) -> Tensor:
        return ops.concat(tensors, axis=axis)

    def is_float_type(self, x: Tensor) -> bool:
        return is_float(x.dtype)

    def einsum(self, pattern: str, *x: Tensor) -> Tensor:
        return ops.einsum(pattern, *x)


class Rearrange(RearrangeMixin, Module):  # type: ignore[misc]
    """`einops.rearrange` as a layer: Rearrange("b c h w -> b (c h w)")."""

    def forward(self, x: Tensor) -> Tensor:
        return self._apply_recipe(x)  # type: ignore[no-any-return]


class Reduce(ReduceMixin, Module):  # type: ignore[misc]
    """`einops.reduce` as a layer: Reduce("b c (h 2) (w 2) -> b c h w", "max")."""

    def forward(self, x: Tensor) -> Tensor:
        return self._apply_recipe(x)  # type: ignore[no-any-return]


class EinMix(_EinmixMixin, Module):  # type: ignore[misc]
    """A linear layer over the axes that its pattern names: EinMix("b t i -> b t o", weight_shape="i o", i=64, o=32)."""

    def _create_parameters(self, weight_shape: Any, weight_bound: float, bias_shape: Any, bias_bound: float) -> None:
        self.weight = Parameter(ops.zeros(tuple(weight_shape)))
        uniform_(self.weight, -weight_bound, weight_bound)
        self.bias = None
        if bias_shape is not None:
            self.bias = Parameter(ops.zeros(tuple(bias_shape)))
            uniform_(self.bias, -bias_bound, bias_bound)

    def _create_rearrange_layers(self, before: Any, before_lengths: Any, after: Any, after_lengths: Any) -> None:
        self.pre_rearrange = None if before is None else Rearrange(before, **before_lengths)
        self.post_rearrange = None if after is None else Rearrange(after, **after_lengths)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.pre_rearrange is None else self.pre_rearrange(x)
        out = ops.einsum(self.einsum_pattern, x, self.weight)
        out = out if self.bias is None else out + self.bias
        return out if self.post_rearrange is None else self.post_rearrange(out)
