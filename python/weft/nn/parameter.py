"""The two kinds of array that a module owns."""

from __future__ import annotations

from typing import Any

import numpy as np

from weft.autograd import Tensor
from weft.backends.device import default_device, place


class Parameter(Tensor):
    """A leaf Tensor that a module trains: assigning it to an attribute of a Module registers it.

    data: array, nested list, or Tensor (its values are shared, its history is not); what is in no device's memory yet
    goes to the default one's.

    >>> Parameter(np.ones(3, "f")).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(raw(data), requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A Tensor that a module keeps but does not train, such as a running mean; `persistent` puts it in `state_dict`.

    >>> class Mean(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.mean = nn.Buffer(weft.zeros((2,)))
    >>> list(Mean().state_dict())
    ['mean']
    """

    __slots__ = ("persistent",)

    def __init__(self, data: Any, persistent: bool = True):
        super().__init__(raw(data), False)
        self.persistent = persistent


def raw(data: Any) -> Any:
    """The array of a Tensor, or `data` on the default device, of the default dtype when it holds Python floats."""
    if isinstance(data, Tensor):
        return data.data
    if isinstance(data, (list, tuple, int, float)):
        array = np.asarray(data)
        data = array.astype(np.float32) if array.dtype == np.float64 else array
    return place(data, default_device()) if isinstance(data, np.ndarray) else data
