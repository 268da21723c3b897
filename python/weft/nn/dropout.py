"""Dropout."""

from __future__ import annotations

from typing import Any

from weft.nn import functional as F
from weft.nn.module import Module


class Dropout(Module):
    """In training, zeroes each element with probability p and scales the rest by 1 / (1 - p).  Same shape.

    p: in [0, 1]. In eval mode it returns its input. The mask comes from weft.random. Srivastava et al., 2014.
    """

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: expected p in [0, 1], got {p}")
        self.p = p

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
