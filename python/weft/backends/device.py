"""Device names: where arrays live."""

from __future__ import annotations

DEVICES = ("cpu",)


def check_device(device: str | None) -> str:
    """The canonical name of `device`; None means the default. ValueError names the devices there are."""
    if device is None or device == "cpu":
        return "cpu"
    raise ValueError(f"device: expected one of {', '.join(DEVICES)}, got {device!r}")
