"""Entries of the primitives over the native extension `weft._cpu`, one file per family.

Without the extension, or with WEFT_NATIVE=0, nothing is registered and every primitive is its reference.
"""

import os
from pathlib import Path

from weft.backends import writes

MENDING = "WEFT_NATIVE=0 runs without it, and `WEFT_NATIVE=0 weft doctor` says what mends it"

native = False
if os.environ.get("WEFT_NATIVE", "1") != "0":
    try:
        from weft import _cpu  # noqa: F401
    except ImportError as error:
        if list(Path(__file__).parents[2].glob("_cpu.*.*")):  # built, but refuses to load: a reason to stop
            raise ImportError(f"weft._cpu: {error.__cause__ or error} ({MENDING})") from error
    else:
        try:
            from weft.backends.cpu import (  # noqa: F401
                activation,
                attention,
                batch_norm,
                conv,
                embedding,
                loss,
                maps,
                matmul,
                norm,
                optimizer,
                pool,
                random,
                rnn,
                softmax,
            )
        except AttributeError as error:
            raise ImportError(f"weft._cpu was built from older sources: {error} ({MENDING})") from error
        writes.made_here = _cpu.is_block
        native = True
