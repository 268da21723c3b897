"""The graph of a functional model: the calls between its inputs and outputs, in an order to run them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from weft.keras.symbols import Call, KerasTensor, leaves, mapped


class Graph:
    """The calls that make `outputs` of `inputs`, structures of symbols.

    `layers` are in Keras's order, from which that of the weights follows: those farthest from the outputs first, and
    among equals those that a walk from the outputs meets first.
    """

    def __init__(self, inputs: Any, outputs: Any):
        self.inputs, self.outputs = inputs, outputs
        self.flat_inputs: list[KerasTensor] = list(leaves(inputs))
        for x in [*self.flat_inputs, *leaves(outputs)]:
            if not isinstance(x, KerasTensor):
                raise TypeError(f"Model: expected symbols of keras.Input as inputs and outputs, got {type(x).__name__}")
        given = {id(x) for x in self.flat_inputs}
        if len(given) < len(self.flat_inputs):
            raise ValueError("Model: expected each input once")
        order, met = self.walk(given)
        depths = self.depths(order, given)
        self.calls = sorted(order, key=lambda call: -depths[id(call)])  # stable: a call stands behind what it needs
        deepest: dict[int, int] = {}
        for call in order:
            deepest[id(call.layer)] = max(depths[id(call)], deepest.get(id(call.layer), 0))
        layers = {id(call.layer): call.layer for call in order}
        for x in self.flat_inputs:
            if x.call is not None and not x.call.args:
                layers.setdefault(id(x.call.layer), x.call.layer)
                deepest[id(x.call.layer)] = len(order) + 1
        at = {id(layer): i for i, layer in enumerate(met)}
        self.layers = sorted(layers.values(), key=lambda x: (-deepest[id(x)], at.get(id(x), len(at))))
        self.plan = self.compiled()

    def walk(self, given: set[int]) -> tuple[list[Call], list[Any]]:
        """The calls behind the outputs, each behind those it needs, and the layers in the order they are met."""
        order: list[Call] = []
        done: set[int] = set()
        met: dict[int, Any] = {}
        stack: list[tuple[KerasTensor, bool]] = [(x, False) for x in reversed(list(leaves(self.outputs)))]
        while stack:
            x, ready = stack.pop()
            call = x.call
            if call is not None and id(x) in given:
                met.setdefault(id(call.layer), call.layer)
                continue
            if call is None or not call.args:
                raise ValueError(f"Model: expected all inputs that the outputs depend on, got none for {x.name!r}")
            if ready:
                if id(call) not in done:
                    done.add(id(call))
                    order.append(call)
                continue
            met.setdefault(id(call.layer), call.layer)
            if id(call) not in done:
                stack.append((x, True))
                stack += [(y, False) for y in reversed(call.inputs)]
        return order, list(met.values())

    def depths(self, order: list[Call], given: set[int]) -> dict[int, int]:
        """How many calls each is before the outputs, at most."""
        depths: dict[int, int] = {}
        layers: dict[int, int] = {}
        for call in reversed(order):
            depth = max(depths.get(id(call), 0), layers.get(id(call.layer), 0))
            depths[id(call)] = layers[id(call.layer)] = depth
            for x in call.inputs:
                if id(x) not in given and x.call is not None:
                    depths[id(x.call)] = max(depth + 1, depths.get(id(x.call), 0))
        return depths

    def compiled(self) -> list[tuple[Any, int | None, Call, list[int]]]:
        """For each call its layer, the slot of its only argument or None, the call, and the slots of its outputs."""
        slots = {id(x): i for i, x in enumerate(self.flat_inputs)}
        plan = []
        for call in self.calls:
            alone = len(call.args) == 1 and isinstance(call.args[0], KerasTensor) and not call.kwargs
            first = slots[id(call.args[0])] if alone else None
            for x in call.outputs:
                slots[id(x)] = len(slots)
            plan.append((call.layer, first, call, [slots[id(x)] for x in call.outputs]))
        self.slots = slots
        return plan

    def run(self, values: list[Any], invoke: Callable[[Any, Any, Any], Any] | None = None) -> Any:
        """The outputs for inputs in their order; `invoke` stands for calling a layer."""
        held: list[Any] = values + [None] * (len(self.slots) - len(values))

        def value(x: Any) -> Any:
            return held[self.slots[id(x)]] if isinstance(x, KerasTensor) else x

        for layer, first, call, outs in self.plan:
            if invoke is None and first is not None:
                out = layer(held[first])
            else:
                args, kwargs = tuple([mapped(value, a) for a in call.args]), mapped(value, call.kwargs)
                out = layer(*args, **kwargs) if invoke is None else invoke(layer, args, kwargs)
            if len(outs) == 1:
                held[outs[0]] = out if not isinstance(out, (list, tuple, dict)) else next(leaves(out))
            else:
                for slot, x in zip(outs, leaves(out)):
                    held[slot] = x
        return mapped(value, self.outputs)
