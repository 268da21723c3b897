"""Tables of rotary positions, in the variants by which models read more tokens than they were trained on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

FIELDS = {  # of rope_parameters, beside rope_type, rope_theta and partial_rotary_factor: (needed, optional)
    "default": ((), ()),
    "linear": (("factor",), ()),
    "dynamic": (("factor",), ()),
    "yarn": (("factor", "original_max_position_embeddings"),
             ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate")),
    "longrope": (("long_factor", "short_factor", "original_max_position_embeddings"), ("factor", "attention_factor")),
    "llama3": (("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"), ()),
}  # fmt: skip


def check_rope(fields: dict[str, Any], dim: int) -> None:
    """Raise ValueError unless `fields`, the rope_parameters of a config.json, are those of one of the variants."""
    kind = fields.get("rope_type", "default")
    if not isinstance(kind, str) or kind not in FIELDS:
        raise ValueError(f"rope_parameters: expected rope_type out of {', '.join(FIELDS)}, got {kind!r}")
    if kind == "dynamic" and dim <= 2:
        raise ValueError(f"rope_parameters: expected head_dim above 2 for rope_type 'dynamic', got {dim}")
    needed, optional = FIELDS[kind]
    for name in needed:
        if fields.get(name) is None:
            raise ValueError(f"rope_parameters: expected {name} for rope_type {kind!r}, got none")
    known = {"rope_type", "rope_theta", "partial_rotary_factor", *needed, *optional}
    for name, value in fields.items():
        if name not in known and value is not None:
            raise ValueError(f"rope_parameters: expected fields of rope_type {kind!r}, got {name!r}: {value}")
        if name in ("long_factor", "short_factor"):
            fits = isinstance(value, list) and len(value) == dim // 2 and all(positive(x) for x in value)
            if not fits:
                raise ValueError(f"rope_parameters: expected {dim // 2} positive numbers as {name}, got {value}")
        elif name not in ("rope_type", "truncate") and value is not None and not positive(value):
            raise ValueError(f"rope_parameters: expected a positive number as {name}, got {value!r}")
    if fields.get("partial_rotary_factor", 1.0) != 1.0:
        raise ValueError(f"rope_parameters: expected partial_rotary_factor 1, got {fields['partial_rotary_factor']}, "
                         "which is not supported")  # fmt: skip


def positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def rotary_rates(fields: dict[str, Any], dim: int, longest: int, now: int) -> tuple[Array, float]:
    """Radians per position of each pair of features, (dim / 2,), and what cosines and sines are multiplied by.

    fields: rope_parameters, as `check_rope` has them. longest: max_position_embeddings. now: tokens in this pass and
    before, on which "dynamic" and "longrope" depend. Su et al. (2021); linear: Chen et al., "Extending context window
    of large language models via positional interpolation" (2023); dynamic: its base grows with the length ("NTK-aware",
    bloc97, 2023); yarn: Peng et al. (2023); longrope: Ding et al. (2024); llama3: the Llama 3.1 release.
    """
    kind, base = fields.get("rope_type", "default"), float(fields.get("rope_theta", 10000.0))
    factor: Any = fields.get("factor")
    if kind == "dynamic" and now > longest:
        base *= (factor * now / longest - (factor - 1)) ** (dim / (dim - 2))
    rates = base ** (-np.arange(0, dim, 2) / dim)
    if kind == "linear":
        return rates / factor, 1.0
    if kind == "yarn":
        return yarn(fields, rates, base, dim)
    if kind == "longrope":
        trained = fields["original_max_position_embeddings"]
        stretch = fields["long_factor" if now > trained else "short_factor"]
        scale = fields.get("attention_factor")
        if scale is None:
            ratio = longest / trained if factor is None else factor
            scale = 1.0 if ratio <= 1 else math.sqrt(1 + math.log(ratio) / math.log(trained))
        return rates / np.asarray(stretch), float(scale)
    if kind == "llama3":
        turns = fields["original_max_position_embeddings"] * rates / (2 * math.pi)  # within what it was trained on
        low, high = fields["low_freq_factor"], fields["high_freq_factor"]
        kept = np.clip((turns - low) / (high - low), 0, 1) if high != low else (turns > low).astype(float)
        return rates * (kept + (1 - kept) / factor), 1.0
    return rates, 1.0


def yarn(fields: dict[str, Any], rates: Array, base: float, dim: int) -> tuple[Array, float]:
    """Fast pairs keep their rate, slow ones are slowed by the factor, a ramp lies between; scores get sharper."""
    factor, trained = float(fields["factor"]), fields["original_max_position_embeddings"]

    def pair_that_turns(times: float) -> float:
        return dim * math.log(trained / (times * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair_that_turns(fields.get("beta_fast") or 32), pair_that_turns(fields.get("beta_slow") or 1)
    if fields.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dim - 1)
    slowed = np.clip((np.arange(dim // 2) - first) / (last - first if last != first else 0.001), 0, 1)
    scale = fields.get("attention_factor")
    if scale is None:
        some, all_dim = fields.get("mscale"), fields.get("mscale_all_dim")
        scale = sharper(factor, some) / sharper(factor, all_dim) if some and all_dim else sharper(factor, 1.0)
    return rates * (1 - slowed + slowed / factor), float(scale)


def sharper(factor: float, weight: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def rotary_tables(fields: dict[str, Any], dim: int, longest: int, at: Array) -> tuple[Array, Array]:
    """Cosines and sines, each (positions, dim / 2) float32, of the positions `at`, in the order of its elements."""
    flat = at.reshape(-1)
    rates, scale = rotary_rates(fields, dim, longest, int(flat.max(initial=-1)) + 1)
    angles = flat[:, None] * rates  # float64, for large positions
    return (np.cos(angles) * scale).astype(np.float32), (np.sin(angles) * scale).astype(np.float32)
