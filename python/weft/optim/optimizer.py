"""What all optimizers share: parameter groups, state, and one multi-tensor call per group and step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from weft.autograd import Tensor, enable_grad
from weft.backends import capturing, writes
from weft.backends import reference as K
from weft.backends.array import ARRAYS, OnDevice, device_of, namespace
from weft.backends.device import host_copy, on_host, place

FREE = ("params", "param_names", "name", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum")


class Optimizer:
    """Base: a subclass names its `primitive`, what is `kept` of each parameter, and in `check` what values it refuses.

    params: Tensors, (name, Tensor) pairs, or dicts with "params" and the values of that group; a Tensor must be a leaf
    with a floating dtype, and come once. `param_groups` is a list of dicts as in PyTorch: {"params": [...], "lr": ...}.

    >>> isinstance(weft.optim.SGD([nn.Parameter([1.0])], lr=0.1), weft.optim.Optimizer)
    True
    """

    primitive: Any  # params, grads, one list per name of `kept`; the values of the group and those of `step` by keyword
    counts = True  # whether the primitive asks for the number of the step
    state: dict[Tensor, dict[str, Any]]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        name = type(self).__name__
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            hint = "; pass model.parameters()" if hasattr(params, "parameters") else ""
            raise TypeError(f"{name}: expected an iterable of Tensors or of groups, got {type(params).__name__}{hint}")
        self.defaults = defaults
        self.state = {}
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{name}: expected parameters, got an empty iterable (a generator can be used only once)")
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Train more parameters: {"params": Tensors, ...}, with the optimizer's values for what is not given."""
        name = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f'{name}: expected each group to be a dict with "params", got {param_group!r:.80}')
        unknown = [k for k in param_group if k not in self.defaults and k not in FREE]
        if unknown:
            raise ValueError(
                f"{name}: expected group values among {', '.join(self.defaults)}, got {', '.join(unknown)}"
            )
        given = param_group["params"]
        given = [given] if isinstance(given, Tensor) else list(given)
        named = [p if isinstance(p, tuple) else (f"parameter {i}", p) for i, p in enumerate(given)]
        if not named:
            raise ValueError(f"{name}: expected parameters, got an empty group")
        seen = {id(p) for group in self.param_groups for p in group["params"]}
        for label, p in named:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: expected Tensors, got {type(p).__name__} for {label}")
            if p.node is not None:
                raise ValueError(
                    f"{name}: expected leaves, got the result of {p.node.name} for {label} {p.shape}; "
                    "optimize what it was computed from, or detach() it"
                )
            if p.dtype.kind in "biu":
                raise TypeError(f"{name}: expected floating Tensors, got {p.dtype} for {label} {p.shape}")
            if not writes.writable(p.data):
                raise ValueError(f"{name}: expected memory that may be written, got a read-only {label} {p.shape}")
            if id(p) in seen:
                raise ValueError(f"{name}: expected each parameter once, got {label} {p.shape} twice")
            seen.add(id(p))
        group = {
            "params": [p for _, p in named],
            **self.defaults,
            **{k: v for k, v in param_group.items() if k != "params"},
        }
        if isinstance(given[0], tuple):
            group["param_names"] = [label for label, _ in named]
        self.check(group)
        self.param_groups.append(group)

    def check(self, group: dict[str, Any]) -> None:
        """Raise ValueError where a value of a group is out of range."""
        for key in ("lr", "weight_decay", "eps"):
            if key in group:
                self.expect(group, key, group[key] >= 0, ">= 0")
        if "betas" in group:
            betas = group["betas"]
            self.expect(group, "betas", len(betas) == 2 and all(0 <= b < 1 for b in betas), "a pair in [0, 1)")

    def expect(self, group: dict[str, Any], key: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ValueError(f"{type(self).__name__}: expected {key} {wanted}, got {group[key]}")

    # ---- stepping

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, or fill them with zeros where `set_to_none` is false."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None if set_to_none or p.grad is None else Tensor(p.grad.data * 0)

    def step(
        self, closure: Callable[[], Any] | None = None, *, scale: Tensor | None = None, skip: Tensor | None = None
    ) -> Any:
        """Move every parameter that has a gradient; with a closure, call it first and return its loss.

        scale: a factor () for the gradients, applied as they are read. skip: int32 (); where it is not 0, nothing moves
        and the step does not count. Both, as `nn.utils.gradient_scale` makes them, stay on their device.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        by = f"{type(self).__name__}.step"
        recorder = capturing.state.recorder
        given = {"scale": None if scale is None else scale.data, "skip": None if skip is None else skip.data}
        for group in self.param_groups:
            runs: dict[tuple[Any, ...], tuple[list[Any], list[Any], list[dict[str, Any]], Any]] = {}
            counters: dict[tuple[int, str], Any] = {}
            probe = next(filter(None, self.kept(group)), "master")
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if grad.data.shape != p.data.shape:
                    raise ValueError(f"{by}: expected a gradient of shape {p.shape}, got {grad.shape}")
                state = self.state.get(p)
                if state is None:
                    capturing.refuse(f"the first gradient of a Tensor {p.shape}", "let the step warm up with it")
                    state = self.state[p] = {"step": 0, **self.begin(group, p.data)}
                if p.data.dtype.itemsize == 2 and state.get("master") is None:
                    state["master"] = namespace(p.data).astype(p.data, np.dtype(np.float32))
                where = "cpu" if type(p.data) is np.ndarray else p.device
                held = state.get(probe)
                if held is None:
                    held = next((v for k, v in state.items() if k != "step" and v is not None), None)
                if lives_elsewhere(held, p.data, where):  # after Module.to
                    state["step"] = int(state["step"])
                    state.update({k: place(v, where) for k, v in state.items() if isinstance(v, ARRAYS)})
                step = state["step"]
                if isinstance(step, int) and where != "cpu" and skip is not None:
                    key = (step, where)  # parameters at one step share its counter
                    if key not in counters:
                        counters[key] = place(np.full((), step, np.int32), where)
                    step = state["step"] = counters[key]
                counted = not isinstance(step, int)
                if not counted and (skip is None or not int(skip.data)):
                    step = state["step"] = step + 1
                # nearly always one run: as dtypes and steps are the same
                run = runs.setdefault((p.data.dtype.char, id(step) if counted else step, where), ([], [], [], step))
                run[0].append(p.data)
                run[1].append(grad.data)
                run[2].append(state)
                p.touch(by)
            for data, grads, states, step in runs.values():
                if not isinstance(step, int):
                    K.count_step(step, given["skip"])
                options = {"lr": group["lr"], "step": step, **given}
                if data[0].dtype.itemsize == 2:
                    options["masters"] = [state["master"] for state in states]
                if recorder is not None:
                    options.update(self.recorded(recorder, group, states, step))
                self.update(group, data, grads, states, options)
        return loss

    def recorded(self, recorder: Any, group: dict[str, Any], states: list[dict[str, Any]], step: Any) -> dict[str, Any]:
        """What an update of a step that is being recorded is given by the host, step by step.

        That is the learning rate, and the number of the step unless the device counts.
        """
        held = self.state
        fixed = {k: v for k, v in group.items() if k not in ("params", "lr")}
        recorder.assume(f"the state of {type(self).__name__}", lambda: self.state is held)
        recorder.assume(f"a hyperparameter of {type(self).__name__}", lambda: fixed.items() <= group.items())
        live = {"lr": recorder.live(np.float32, lambda: group["lr"])}
        if not isinstance(step, int):
            return live

        def count(by: int) -> None:
            for state in states:
                state["step"] += by

        recorder.each_step(lambda: count(1), lambda: count(-1))
        return {**live, "step": recorder.live(np.int32, lambda: states[0]["step"])}

    def kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        """Names of the arrays kept for each parameter, as the primitive takes them; None where the group needs none."""
        return ()

    def begin(self, group: dict[str, Any], p: Any) -> dict[str, Any]:
        """The arrays that the first gradient of a parameter makes."""
        return {name: self.zeros(p) for name in self.slots(group)}

    def slots(self, group: dict[str, Any]) -> list[str]:
        """Names of the arrays that the first gradient of a parameter makes."""
        return [name for name in self.kept(group) if name]

    def arguments(self, group: dict[str, Any]) -> dict[str, Any]:
        """What the primitive takes of a group; betas one by one."""
        values = {key: group[key] for key in self.defaults if key != "lr"}
        if "betas" in values:
            values["beta1"], values["beta2"] = values.pop("betas")
        return values

    def update(
        self,
        group: dict[str, Any],
        data: list[Any],
        grads: list[Any],
        states: list[dict[str, Any]],
        options: dict[str, Any],
    ) -> None:
        """One call of the primitive; options: lr, step, scale and skip, numbers or arrays, and masters where used."""
        if not self.counts:
            del options["step"]
        lists = [[state[name] for state in states] if name else [] for name in self.kept(group)]
        self.primitive(data, grads, *lists, **self.arguments(group), **options)

    @staticmethod
    def zeros(like: Any, shape: tuple[int, ...] | None = None) -> Any:
        """State of a parameter, of its shape or `shape`; float32 for a 16-bit one, or small moves would be lost."""
        dtype = np.float32 if like.dtype.itemsize == 2 else like.dtype
        shape = like.shape if shape is None else shape
        if isinstance(like, OnDevice):
            return namespace(like).zeros(shape, dtype=dtype, device=device_of(like))
        return np.zeros(shape, dtype)

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """{"state": {index: {name: array or int}}, "param_groups": [{..., "params": [indices]}]}, as in PyTorch.

        Indices count the parameters through all groups in order. Arrays are NumPy's own copies; the rest can be written
        as JSON.
        """
        order = {id(p): i for i, p in enumerate(self.parameters())}
        state = {order[id(p)]: {k: saved(k, v) for k, v in values.items()} for p, values in self.state.items()}
        groups = [{**group, "params": [order[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; ValueError where the groups differ, with nothing changed."""
        name = f"{type(self).__name__}.load_state_dict"
        groups, saved = self.param_groups, state_dict["param_groups"]
        sizes, saved_sizes = [len(g["params"]) for g in groups], [len(g["params"]) for g in saved]
        if sizes != saved_sizes:
            raise ValueError(f"{name}: expected groups of {sizes} parameters, got {saved_sizes}")
        params = self.parameters()
        group_of = {p: group for group in groups for p in group["params"]}
        order = {str(i): p for i, p in zip([i for g in saved for i in g["params"]], params)}
        state: dict[Tensor, dict[str, Any]] = {}
        for i, values in state_dict["state"].items():
            p = order.get(str(i))
            if p is None:
                raise ValueError(f"{name}: expected state of parameters 0 to {len(params) - 1}, got {i}")
            state[p], new = {"step": 0}, self.begin(group_of[p], p.data)
            for key, value in values.items():
                if key == "step" or value is None:
                    state[p][key] = value if value is None else int(value)
                    continue
                array = on_host(value.data if isinstance(value, Tensor) else value)
                shape = new[key].shape if key in new else p.shape
                if array.shape != shape:
                    raise ValueError(f"{name}: expected {key} of parameter {i} of shape {shape}, got {array.shape}")
                dtype = np.float32 if p.dtype.itemsize == 2 else p.dtype
                state[p][key] = place(array.astype(dtype, order="C", copy=True), p.device)
            absent = [k for k in new if state[p].get(k) is None]
            if absent and values:
                raise ValueError(f"{name}: expected {', '.join(absent)} for parameter {i}, got {', '.join(values)}")
        for group, other in zip(groups, saved):
            group.update(
                {
                    k: tuple(v) if isinstance(v, list) else v  # betas, through JSON
                    for k, v in other.items()
                    if k not in ("params", "param_names")
                }
            )
        self.state = state

    def parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            values = ", ".join(f"{k}={v}" for k, v in group.items() if k not in ("params", "param_names"))
            lines.append(f"  group {i}: {len(group['params'])} parameters, {values}")
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])


def lives_elsewhere(held: Any, data: Any, where: str) -> bool:
    """Whether an array of the state is not on the device of its parameter."""
    if held is None or type(held) is type(data) is np.ndarray:
        return False
    return device_of(held) != where


def saved(key: str, value: Any) -> Any:
    """A value of the state on the host; the number of steps as an int, wherever it is counted."""
    if key == "step":
        return int(value)
    return host_copy(value) if isinstance(value, ARRAYS) else value
