"""Timing beside a peer: calls in turns, so that a change of clock or load meets all alike; medians and spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

REST = 0.04  # seconds: threads of the other framework stop spinning
Times = dict[str, dict[str, float]]  # name -> median, p10, p90 in seconds


def spread(values: list[float]) -> dict[str, float]:
    """Median, 10th and 90th percentile."""
    values = sorted(values)
    at = lambda q: values[min(len(values) - 1, int(q * len(values)))]
    return {"median": statistics.median(values), "p10": at(0.1), "p90": at(0.9)}


def alternate(
    functions: dict[str, Callable[[], Any]], *, seconds: float = 2.0, rounds: int = 9,
    wait: Callable[[], Any] = lambda: None,
) -> Times:  # fmt: skip
    """Seconds per call of each function, measured in turns on the CPU's clock.

    seconds: about how long it may take in all. Each round rests, calls once more unmeasured, then measures a batch.
    wait: returns when the device has done all that it was given; called before the clock is read.
    """
    calls = {}
    for name, f in functions.items():
        f(), f(), f()
        wait()
        start = time.perf_counter()
        f()
        wait()
        once = max(time.perf_counter() - start, 1e-7)
        calls[name] = max(1, int(seconds / rounds / len(functions) / once))
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, f in functions.items():
            time.sleep(REST)
            f()
            wait()
            start = time.perf_counter()
            for _ in range(calls[name]):
                f()
            wait()
            samples[name].append((time.perf_counter() - start) / calls[name])
    return {name: spread(values) for name, values in samples.items()}


def alternate_on_gpu(functions: dict[str, Callable[[], Any]], *, seconds: float = 1.0, rounds: int = 30) -> Times:
    """Seconds of device time per call of each function, measured in turns by events with a cold L2 cache.

    Before each call a buffer several times the cache's size is overwritten; the device works on that long enough for
    the call and both events to be queued behind it, so launch overhead does not enter.
    """
    import cupy

    stream = cupy.cuda.get_current_stream()
    cache = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["l2CacheSize"]
    scratch = cupy.cuda.alloc(max(8 * cache, 1 << 28))

    def flush() -> None:
        for _ in range(2):
            scratch.memset_async(0x5A, scratch.mem.size, stream)

    def once(f: Callable[[], Any]) -> float:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        flush()
        begin.record(stream)
        f()
        end.record(stream)
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(begin, end)) * 1e-3

    slowest = 0.0
    for f in functions.values():
        once(f), once(f)
        slowest += once(f)
    turns = max(5, min(rounds, int(seconds / max(slowest, 1e-6))))
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(turns):
        for name, f in functions.items():
            samples[name].append(once(f))
    return {name: spread(values) for name, values in samples.items()}


def in_turns(functions: dict[str, Callable[[], Any]], device: str, seconds: float) -> Times:
    """Seconds per call of each function, by the clock of `device`; seconds: about how long it may take in all."""
    return (alternate if device == "cpu" else alternate_on_gpu)(functions, seconds=seconds)


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
