"""Module: a function with parameters, named as PyTorch names them.

A module is a plain object. Its parameters, buffers and children are the attributes that are Parameters, Buffers and
Modules; nothing else is registered anywhere. What a call costs is therefore the call of `forward`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

from weft.autograd import Tensor
from weft.backends.array import ARRAYS
from weft.backends.device import check_device, host_copy, place
from weft.nn.parameter import Buffer, Parameter

Hook = Callable[..., Any]


class Watch(Protocol):
    """Told of the calls of modules, by `nanguard`."""

    def enter(self, module: Module) -> None: ...

    def leave(self, module: Module, out: Any) -> None: ...


watch: Watch | None = None  # where it is None, which is nearly always, it costs nothing


class Missing(NamedTuple):
    """What `load_state_dict(strict=False)` could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Handle:
    """Removes the hook that it was given for; as a context manager, at the end of the block."""

    def __init__(self, hooks: list[Hook], hook: Hook):
        self.hooks, self.hook = hooks, hook

    def remove(self) -> None:
        self.hooks[:] = [h for h in self.hooks if h is not self.hook]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Module:
    """Base of all layers: subclass it, assign layers and Parameters to attributes, define `forward`.

    Calling the module calls `forward`, with hooks around it, and adds the path of the layer to an error from inside.

    >>> class Twice(Module):
    ...     def __init__(self):
    ...         self.scale = Parameter([2.0])
    ...     def forward(self, x):
    ...         return x * self.scale
    >>> list(Twice().state_dict())
    ['scale']
    """

    if TYPE_CHECKING:  # attributes are set by name in places

        def __getattr__(self, name: str) -> Any: ...

    training: bool = True
    _forward_hooks: list[Hook] | None = None
    _forward_pre_hooks: list[Hook] | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: expected a method `forward`, got none")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._forward_hooks or self._forward_pre_hooks or watch is not None:
                return self._call_with_hooks(*args, **kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            locate(error, self, args, kwargs)
            raise

    def _call_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        watching, out = watch, None
        if watching is not None:
            watching.enter(self)
        try:
            for hook in list(self._forward_pre_hooks or ()):
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
            out = self.forward(*args, **kwargs)
            for hook in list(self._forward_hooks or ()):
                changed = hook(self, args, out)
                if changed is not None:
                    out = changed
            return out
        finally:
            if watching is not None:
                watching.leave(self, out)

    def hint(self, *args: Any, **kwargs: Any) -> str | None:
        """The likely cause of an error in `forward(*args, **kwargs)`, or None; for layers with a common mistake."""
        return None

    # ---- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if isinstance(old, Parameter) and value is not None and not isinstance(value, Parameter):
            raise TypeError(
                f"{type(self).__name__}: expected a Parameter (or None) for {name!r}, "
                f"got {type(value).__name__}; `del` the attribute first to unregister it"
            )
        if isinstance(old, Buffer) and value is not None and not isinstance(value, (Buffer, Parameter)):
            value = Buffer(value, old.persistent)
        object.__setattr__(self, name, value)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        setattr(self, name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        setattr(self, name, tensor if tensor is None else Buffer(tensor, persistent))

    def add_module(self, name: str, module: Module | None) -> None:
        setattr(self, name, module)

    # ---- walking

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(attribute, module) of the direct children."""
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value
            elif type(value) in (list, dict) and value:
                first, kind = next(iter(value.values() if type(value) is dict else value)), type(value).__name__
                if isinstance(first, Module):
                    raise TypeError(
                        f"{type(self).__name__}: expected nn.Module{kind.title()} at {name!r}, got a {kind}, whose "
                        "modules would not train; a tuple holds modules that are meant to stay out"
                    )
                if isinstance(first, Parameter):
                    raise TypeError(
                        f"{type(self).__name__}: expected Parameters as attributes, got a {kind} of them at {name!r}, "
                        "which would not train; a tuple holds Parameters that are meant to stay out"
                    )

    def children(self) -> Iterator[Module]:
        for _, child in self.named_children():
            yield child

    def named_modules(self, prefix: str = "", memo: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module (path "") and all below it, each once, parents first."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        memo.add(id(self))
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(join(prefix, name), memo)

    def modules(self) -> Iterator[Module]:
        for _, module in self.named_modules():
            yield module

    def _named(self, kind: type, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in module.__dict__.items():
                if isinstance(value, kind) and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield join(path, name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, Parameter) of this module and all below it; a parameter shared by two names comes once."""
        return self._named(Parameter, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Buffer]]:
        return self._named(Buffer, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Buffer]:
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as "features.3"; "" is this one.  KeyError names what there is."""
        module = self
        for name in target.split(".") if target else ():
            child = module.__dict__.get(name)
            if not isinstance(child, Module):
                known = ", ".join(n for n, _ in module.named_children()) or "no children"
                raise KeyError(
                    f"get_submodule: expected one of {known} in {type(module).__name__}, got {name!r} (of {target!r})"
                )
            module = child
        return module

    # ---- state

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of all that is saved, shared tensors under each of their names, in PyTorch's order."""
        for kind in (Parameter, Buffer):
            for name, value in self.__dict__.items():
                if isinstance(value, kind) and getattr(value, "persistent", True):
                    yield join(prefix, name), value
        for name, child in self.named_children():
            yield from child._state(join(prefix, name))

    def state_dict(self) -> dict[str, Any]:
        """Name -> NumPy array of every parameter and persistent buffer: a copy, which later training leaves alone."""
        return {name: host_copy(value.data) for name, value in self._state()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Missing:
        """Copy arrays by name into the parameters and buffers, on whatever device these are, all or nothing.

        state_dict: name -> array or Tensor, of the shapes that `self.state_dict()` has. Floats are cast to the dtype of
        what they fill. ValueError lists every missing, unexpected and mis-shaped name, with the name that each may
        have meant; `strict=False` forgives the first two and returns them. On an error the module is as it was.

        >>> from weft import nn
        >>> nn.Linear(2, 3).load_state_dict(nn.Linear(2, 3).state_dict())
        Missing(missing_keys=[], unexpected_keys=[])
        """
        own = dict(self._state())
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        wrong, new = [], {}
        for name, target in own.items():
            if name in state_dict:
                value = state_dict[name]
                value = value.data if isinstance(value, Tensor) else value
                value = value if isinstance(value, ARRAYS) else np.asarray(value)
                if value.dtype != target.dtype and not loadable(value.dtype, target.dtype):
                    wrong.append(f"{name}: expected dtype {target.dtype}, got {value.dtype}")
                new[name] = value
        wanted = {name: target.shape for name, target in own.items() if strict or name in new}
        given = {name: value.shape for name, value in new.items()}
        if strict:
            given |= {name: np.shape(state_dict[name]) for name in unexpected}
        lines = mismatches(wanted, given) + wrong
        if lines:
            raise ValueError(
                f"load_state_dict: expected the names and shapes of {type(self).__name__}, got\n  " + "\n  ".join(lines)
            )
        for name, value in new.items():
            own[name].assign(value, by="load_state_dict")
        return Missing(missing, unexpected)

    # ---- modes and moves

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module, children first; returns self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Train the parameters, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        zero_grad(self.parameters(), set_to_none)

    def to(self, target: Any = None, *, device: str | None = None, dtype: Any = None) -> Self:
        """Move to a device, or cast the floating-point parameters and buffers to a dtype; in place, returns self.

        target: a device ("cpu", "cuda", "cuda:1", "emulated") or a dtype (`weft.float64`). An optimizer's state
        follows its parameters at the next step.
        """
        if isinstance(target, str) and (target in ("cpu", "cuda", "emulated") or ":" in target):
            device = target
        elif target is not None:
            dtype = target
        device = None if device is None else check_device(device)
        for tensor in [*self.parameters(), *self.buffers()]:
            if device is not None:
                tensor.data = place(tensor.data, device)
            if dtype is not None and is_float(tensor.dtype):
                tensor.data = tensor.data.astype(dtype)
            tensor.grad = None
            tensor.touch("Module.to")
        return self

    # ---- hooks

    def register_forward_hook(self, hook: Hook) -> Handle:
        """Call `hook(module, args, output)` after each forward; what it returns, unless None, replaces the output."""
        if self._forward_hooks is None:
            self._forward_hooks = []
        self._forward_hooks.append(hook)
        return Handle(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Hook) -> Handle:
        """Call `hook(module, args)` before each forward; what it returns, unless None, replaces the arguments."""
        if self._forward_pre_hooks is None:
            self._forward_pre_hooks = []
        self._forward_pre_hooks.append(hook)
        return Handle(self._forward_pre_hooks, hook)

    # ---- text

    def extra_repr(self) -> str:
        """The arguments, as shown by `repr`."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children()]
        if not lines:
            return f"{type(self).__name__}({extra})"
        return f"{type(self).__name__}({extra}\n  " + "\n  ".join(lines) + "\n)"

    def _repr_html_(self) -> str:
        from weft.interop.display import module_html

        return module_html(self)

    def summary(self, *inputs: Any) -> str:
        """A table of every layer, its output shape and parameter count, from one forward pass in eval mode.

        inputs: for each argument of `forward` its shape, batch included (float32 zeros are sent through), or an array.

        >>> from weft import nn
        >>> print(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).summary((1, 4)))
        layer       output  parameters
        ------------------------------
        Sequential  (1, 3)           0
        0 (Linear)  (1, 3)          15
        1 (ReLU)    (1, 3)           0
        ------------------------------
        15 parameters
        """
        from weft.nn.summary import summary

        return summary(self, *inputs)


def join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def is_float(dtype: Any) -> bool:
    """Floating point, bfloat16 included (NumPy files it under "V")."""
    return np.issubdtype(dtype, np.floating) or np.dtype(dtype).name == "bfloat16"


def loadable(got: Any, expected: Any) -> bool:
    return (is_float(got) and is_float(expected)) or np.can_cast(got, expected, "same_kind")


def mismatches(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> list[str]:
    """A line for each name whose shape is not the wanted one, that is missing, and that nobody wanted."""
    lines = [f"{n}: expected shape {wanted[n]}, got {given[n]}" for n in wanted if given.get(n, wanted[n]) != wanted[n]]
    missing = {name: shape for name, shape in wanted.items() if name not in given}
    spare = {name: shape for name, shape in given.items() if name not in wanted}
    lines += [f"{n}: missing, expected shape {shape}{nearest(n, shape, spare)}" for n, shape in missing.items()]
    lines += [f"{n}: unexpected, got shape {shape}{nearest(n, shape, missing)}" for n, shape in spare.items()]
    return lines


def nearest(name: str, shape: tuple[int, ...], others: Mapping[str, tuple[int, ...]]) -> str:
    """The name among `others` that `name` may have meant, with its shape, as the end of a line; "" if none is near."""
    same = [other for other in others if others[other] == shape] or list(others)
    ends = [other for other in same if other.endswith(f".{name}") or name.endswith(f".{other}")]
    if not ends:
        import difflib

        ends = difflib.get_close_matches(name, same[:100], 1)  # it compares with each, slowly
    return f" (nearest: {ends[0]} {others[ends[0]]})" if ends else ""


@contextlib.contextmanager
def in_mode(model: Any, training: bool) -> Iterator[None]:
    """A block in which a module is in training or evaluation mode; each of its modules is as it was afterwards."""
    modes = [(m, m.training) for m in model.modules()] if isinstance(model, Module) else []
    try:
        if modes:
            model.train(training)
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def evaluating(model: Any) -> contextlib.AbstractContextManager[None]:
    return in_mode(model, False)


def zero_grad(parameters: Any, set_to_none: bool = True) -> None:
    """Drop the gradients, or fill them with zeros where `set_to_none` is false."""
    for parameter in parameters:
        if set_to_none or parameter.grad is None:
            parameter.grad = None
        else:
            parameter.grad = Tensor(parameter.grad.data * 0)


def locate(error: Exception, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Put the path of the failing layer, and the likely cause, in front of the error, whose type is kept.

    Called at each module that the error leaves: the innermost one remembers itself, each one further out finds the path
    from itself to it and writes the message anew.
    """
    record = getattr(error, "weft_module", None)
    if record is None:
        try:
            cause = module.hint(*args, **kwargs)
        except Exception:  # the arguments are wrong already: a hint that stumbles over them is no hint
            cause = None
        message = str(error.args[0]) if len(error.args) == 1 and isinstance(error.args[0], str) else None
        error.weft_module = record = (module, message, cause)  # type: ignore[attr-defined]
        path = ""
    else:
        inner = record[0]
        path = next((p for p, m in module.named_modules() if m is inner), "")
    inner, message, cause = record
    where = f"{type(inner).__name__} at {path}" if path else ""
    cause = f" ({cause})" if cause else ""
    if message is not None and type(error).__str__ in (Exception.__str__, BaseException.__str__):
        error.args = (f"{where}: {message}{cause}" if where else message + cause,)
        return
    note = f"in {where or type(inner).__name__}{cause}"
    notes = [n for n in getattr(error, "__notes__", []) if n != getattr(error, "weft_note", None)]
    error.__notes__ = [*notes, note]
    error.weft_note = note  # type: ignore[attr-defined]
