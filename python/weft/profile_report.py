"""What a profile shows: a table, and a trace in Chrome's format.

Source: "Trace Event Format", the Chromium project.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.profiling import Event, Profile

COLUMNS = ("module", "op", "pass", "ran", "shapes", "dtypes")
TEXT = 44  # characters that a column of names may have


def rows_of(profile: Profile) -> list[Event]:
    """The events that a table counts: ops, and entries and kernels that ran outside of any (an optimizer's)."""
    outside = (None, "module", "span")
    return [
        event
        for event in profile.events
        if event.kind in ("op", "entry", "kernel")
        and (event.inside.kind if event.inside is not None else None) in outside
    ]


def value(event: Event, column: str) -> str:
    if column == "module":
        return event.module
    if column == "op":
        return event.name.rpartition(".")[2] if event.kind == "entry" else event.name
    if column == "pass":
        return event.direction
    if column == "ran":
        return ", ".join(event.ran()) or ("array code" if event.kind == "op" else event.name)
    if column == "shapes":
        return " ".join("x".join(map(str, shape)) or "()" for shape in event.shapes)
    return " ".join(event.dtypes)


def short(text: str) -> str:
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"


def table(profile: Profile, by: Sequence[str], rows: int | None) -> str:
    unknown = [name for name in by if name not in COLUMNS]
    if unknown or isinstance(by, str) or not by:
        raise ValueError(f"table: expected by as a sequence out of {', '.join(COLUMNS)}, got {by!r}")
    groups: dict[tuple[str, ...], list[Event]] = {}
    events = rows_of(profile)
    for event in events:
        groups.setdefault(tuple([value(event, column) for column in by]), []).append(event)
    total = sum(event.seconds for event in events)
    on_device = any(event.kind == "kernel" for event in profile.events)
    order = sorted(groups.items(), key=lambda item: -sum(busy(e, on_device) for e in item[1]))
    numbers = ["calls", "ms", "µs/call", "share", *(["device ms"] if on_device else []), "memory"]
    lines = [[*by, *numbers]]
    for key, found in order[:rows]:
        seconds = sum(event.seconds for event in found)
        device = [f"{sum(map(device_seconds, found)) * 1e3:.3f}"] if on_device else []
        lines.append([
            *map(short, key), f"{len(found):,}", f"{seconds * 1e3:.3f}", f"{seconds / len(found) * 1e6:.1f}",
            f"{seconds / total:.1%}" if total else "-", *device, size(sum(event.made for event in found)),
        ])  # fmt: skip
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(cell.ljust(w) if i < len(by) else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths)))
        for line in lines
    ]
    text.insert(1, "-" * len(text[0]))
    left = len(order) - len(lines) + 1
    text += [f"... and {left} rows more"] if left > 0 else []
    ending = f"{total * 1e3:.3f} ms in ops of {profile.seconds * 1e3:.3f} ms"
    if on_device:
        ending += f", {sum(e.seconds for e in profile.events if e.kind == 'kernel') * 1e3:.3f} ms in kernels"
    return "\n".join([line.rstrip() for line in text] + [ending + f"; results held {size(profile.peak)} at most"])


def device_seconds(event: Event) -> float:
    return event.seconds if event.kind == "kernel" else event.device_seconds()


def busy(event: Event, on_device: bool) -> float:
    return device_seconds(event) if on_device else event.seconds


def size(nbytes: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit:
            return f"{nbytes / unit:.2f} {name}"
    return f"{nbytes} B"


def chrome_trace(profile: Profile) -> str:
    """Complete events ("X") on a track per thread and device, a counter of memory, names of the tracks."""
    process = os.getpid()
    devices = sorted({event.thread for event in profile.events if isinstance(event.thread, str)})
    threads = sorted({event.thread for event in profile.events if not isinstance(event.thread, str)})
    tracks: dict[Any, int] = {thread: i for i, thread in enumerate(threads)}
    tracks |= {device: len(threads) + i for i, device in enumerate(devices)}
    microseconds = lambda moment: round((moment - profile.start) * 1e6, 3)
    lines: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": "weft"}},
        *(
            {"ph": "M", "name": "thread_name", "pid": process, "tid": number,
             "args": {"name": key if isinstance(key, str) else f"thread {number}"}}
            for key, number in tracks.items()
        ),
    ]  # fmt: skip
    for event in profile.events:
        facts: dict[str, Any] = {"module": event.module, "pass": event.direction}
        facts |= (
            {"shapes": [list(shape) for shape in event.shapes], "dtypes": list(event.dtypes)} if event.shapes else {}
        )
        facts |= {"ran": event.ran()} if event.kind == "op" else {}
        facts |= {"bytes": event.made} if event.made else {}
        name = event.name
        if event.kind == "module" and event.module != event.name:
            name = f"{event.module}: {event.name}"
        elif event.kind == "op" and event.direction == "backward":
            name = f"{event.name} backward"
        lines.append({
            "ph": "X", "name": name, "cat": event.kind, "pid": process, "tid": tracks[event.thread],
            "ts": microseconds(event.start), "dur": round(event.seconds * 1e6, 3), "args": facts,
        })  # fmt: skip
    lines += [{"ph": "C", "name": "memory of results", "pid": process, "ts": microseconds(moment),
               "args": {"bytes": held}} for moment, held in profile.live]  # fmt: skip
    return json.dumps({"traceEvents": lines, "displayTimeUnit": "ms"})
