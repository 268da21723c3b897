"""The CPU kernels: csrc/python binds them, backends/cpu calls them."""

from typing import Any

def __getattr__(name: str) -> Any: ...
