"""Weights that are computed from other parameters before each call: weight normalisation, spectral normalisation.

The parameter `name` gives way to those that it is made of; it stays an attribute, a Tensor that each call makes anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from weft import ops
from weft.autograd import Tensor, no_grad
from weft.nn import functional as F
from weft.nn import init
from weft.nn.conv_transpose import ConvTransposeNd
from weft.nn.module import Module
from weft.nn.parameter import Buffer, Parameter

M = TypeVar("M", bound=Module)


class Reparametrised(ABC):
    """A hook that makes a module's `name` of its other parameters before each call."""

    kind = ""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, module: Module, args: Any) -> None:
        object.__setattr__(module, self.name, self.weight(module))

    @abstractmethod
    def weight(self, module: Module) -> Tensor:
        """The parameter, computed from the others."""

    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """The attributes that it adds to the module."""

    def install(self, module: Module, parts: dict[str, Tensor]) -> None:
        if hook_of(module, self.name, Reparametrised) is not None:
            raise ValueError(f"{self.kind}: expected {self.name!r} to be a parameter, got one that is computed already")
        delattr(module, self.name)
        for name, value in parts.items():
            setattr(module, name, value)
        module.register_forward_pre_hook(self)
        with no_grad():
            self(module, ())


def parameter_of(kind: str, module: Module, name: str) -> Parameter:
    found = module.__dict__.get(name)
    if not isinstance(found, Parameter):
        known = ", ".join(n for n, _ in module.named_parameters(recurse=False)) or "none"
        raise ValueError(f"{kind}: expected one of the parameters {known} of {type(module).__name__}, got {name!r}")
    return found


def check_dim(kind: str, weight: Parameter, dim: int | None) -> None:
    if dim is not None and not -weight.ndim <= dim < weight.ndim:
        raise ValueError(f"{kind}: expected dim within {weight.shape}, got {dim}")


def hook_of(module: Module, name: str, kind: type) -> Any:
    hooks = module._forward_pre_hooks or ()
    return next((h for h in hooks if isinstance(h, kind) and getattr(h, "name", None) == name), None)


def remove(kind: type[Reparametrised], module: M, name: str) -> M:
    hook = hook_of(module, name, kind)
    if hook is None:
        raise ValueError(f"remove_{kind.kind}: expected a module with {kind.kind} of {name!r}, got {module!r:.80}")
    mode, module.training = module.training, False  # as it is used, without another step
    with no_grad():
        weight = Parameter(hook.weight(module))
    module.training = mode
    module._forward_pre_hooks = [h for h in module._forward_pre_hooks or () if h is not hook]
    for part in (*hook.parts(), name):
        delattr(module, part)
    setattr(module, name, weight)
    return module


# -- weight normalisation ---------------------------------------------------------------------------------------------


class WeightNorm(Reparametrised):
    kind = "weight_norm"

    def __init__(self, name: str, dim: int | None):
        super().__init__(name)
        self.dim = dim

    def parts(self) -> tuple[str, ...]:
        return f"{self.name}_g", f"{self.name}_v"

    def norm(self, v: Any) -> Any:
        """The norm over all but `dim`, which stays 1 long elsewhere; with dim None over all, ()."""
        if self.dim is None:
            return ops.sqrt(ops.sum(v * v))
        others = tuple(i for i in range(v.ndim) if i != self.dim)
        return ops.sqrt(ops.sum(v * v, axis=others, keepdims=True))

    def weight(self, module: Module) -> Tensor:
        g, v = (getattr(module, part) for part in self.parts())
        return v * (g / self.norm(v))


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Make the parameter `name` of a length g and a direction v: weight = g v / |v|; returns the module.

    dim: has a length for each of its positions; None: one for all. Parameters: {name}_g, {name}_v, in place of {name}.
    ValueError for what is no parameter.  Salimans and Kingma, "Weight normalization" (2016).

    >>> from weft import nn
    >>> layer = weight_norm(nn.Linear(3, 2))
    >>> {name: value.shape for name, value in layer.state_dict().items()}
    {'bias': (2,), 'weight_g': (2, 1), 'weight_v': (2, 3)}
    """
    weight = parameter_of("weight_norm", module, name)
    check_dim("weight_norm", weight, dim)
    hook = WeightNorm(name, None if dim in (None, -1) else dim % weight.ndim)
    with no_grad():
        g = Parameter(hook.norm(weight.detach()))
    hook.install(module, {f"{name}_g": g, f"{name}_v": Parameter(weight.data, weight.requires_grad)})
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """The parameter `name` again, with its value; returns the module."""
    return remove(WeightNorm, module, name)


# -- spectral normalisation -------------------------------------------------------------------------------------------


class SpectralNorm(Reparametrised):
    kind = "spectral_norm"

    def __init__(self, name: str, n_power_iterations: int, eps: float, dim: int):
        super().__init__(name)
        self.n_power_iterations, self.eps, self.dim = n_power_iterations, eps, dim

    def parts(self) -> tuple[str, ...]:
        return f"{self.name}_orig", f"{self.name}_u", f"{self.name}_v"

    def matrix(self, weight: Any) -> Any:
        """(weight.shape[dim], the rest)"""
        return ops.reshape(ops.moveaxis(weight, self.dim, 0) if self.dim else weight, (weight.shape[self.dim], -1))

    def improve(self, matrix: Any, u: Buffer, v: Buffer, times: int) -> tuple[Tensor, Tensor]:
        """Power iterations, copied into u and v; what comes back is memory of its own, not u and v."""
        with no_grad():
            matrix, left, right = matrix.detach(), u.detach(), v.detach()
            for _ in range(times):
                right = F.normalize(ops.matmul(ops.matrix_transpose(matrix), left), dim=0, eps=self.eps)
                left = F.normalize(ops.matmul(matrix, right), dim=0, eps=self.eps)
            u.assign(left, by="spectral_norm")
            v.assign(right, by="spectral_norm")
        return left, right

    def weight(self, module: Module) -> Tensor:
        weight, u, v = (getattr(module, part) for part in self.parts())
        matrix = self.matrix(weight)
        left, right = u.detach(), v.detach()
        if module.training:
            left, right = self.improve(matrix, u, v, self.n_power_iterations)
        return weight / ops.sum(left * ops.matmul(matrix, right))


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """Divide the parameter `name`, as a matrix, by its largest singular value; returns the module.

    Each call in training takes n_power_iterations steps towards that value. dim: of the outputs, 0 by default, or 1 of
    transposed convolutions. Parameter {name}_orig in place of {name}, buffers {name}_u (outputs,), {name}_v (rest,).
    ValueError for what is no parameter.  Miyato et al., "Spectral normalization for GANs" (2018).

    >>> from weft import nn
    >>> layer = spectral_norm(nn.Linear(3, 2))
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    weight = parameter_of("spectral_norm", module, name)
    if n_power_iterations < 1:
        raise ValueError(f"spectral_norm: expected n_power_iterations >= 1, got {n_power_iterations}")
    check_dim("spectral_norm", weight, dim)
    dim = (1 if isinstance(module, ConvTransposeNd) else 0) if dim is None else dim % weight.ndim
    hook = SpectralNorm(name, n_power_iterations, eps, dim)
    matrix = hook.matrix(weight.detach())
    u, v = (Buffer(ops.zeros((n,), dtype=weight.dtype, device=weight.device)) for n in matrix.shape)
    for vector in (u, v):
        init.normal_(vector)
        vector.assign(F.normalize(vector.detach(), dim=0, eps=eps))
    hook.improve(matrix, u, v, 15)
    parts = {f"{name}_orig": Parameter(weight.data, weight.requires_grad), f"{name}_u": u, f"{name}_v": v}
    hook.install(module, parts)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """The parameter `name` again, with the value that eval mode uses; returns the module."""
    return remove(SpectralNorm, module, name)
