"""Benchmarks under test are looked at for what they say, not for how fast anything is."""

import pytest


@pytest.fixture(autouse=True)
def unrested(monkeypatch):
    """No rests between contenders, which are most of the time of a short measurement."""
    monkeypatch.setattr("weft.bench.timing.REST", 0.0)
