"""Time series that Weft knows by name: temperatures by day, passengers and sunspots by month."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weft.data.catalog import locate
from weft.data.tables import number

Array = np.ndarray[Any, Any]


class Series(NamedTuple):
    """One number per day or month: `times` datetime64 (N,), `values` float64 (N,), what they are and their unit.

    >>> times, values, name, unit = weft.data.sunspots()                                    # doctest: +SKIP
    """

    times: Array
    values: Array
    name: str
    unit: str


def daily_temperatures(data: Path | str | None = None) -> Series:
    """The coldest temperature of each day in Melbourne, 1981 to 1990: 3,650 days in degrees Celsius.

    The last days of the two leap years are missing, so each year has 365. data: the folder to look in first; then
    `WEFT_DATA` and the cache folder are searched. MissingDataError if they have none. Source: Australian Bureau of
    Meteorology.

    >>> times, values, name, unit = weft.data.daily_temperatures()                          # doctest: +SKIP
    """
    return read(data, "temperatures", "daily-min-temperatures.csv", "daily minimum in Melbourne", "°C")


def airline_passengers(data: Path | str | None = None) -> Series:
    """International airline passengers of each month, 1949 to 1960: 144 months in thousands. As `daily_temperatures`.

    Source: Box and Jenkins, "Time series analysis" (1976), series G.

    >>> times, values, name, unit = weft.data.airline_passengers()                          # doctest: +SKIP
    """
    return read(data, "passengers", "airline-passengers.csv", "airline passengers", "thousands")


def sunspots(data: Path | str | None = None) -> Series:
    """Zurich's mean number of sunspots in each month, 1749 to 1983: 2,820 months. Otherwise as `daily_temperatures`.

    Source: Andrews and Herzberg, "Data" (1985).

    >>> times, values, name, unit = weft.data.sunspots()                                    # doctest: +SKIP
    """
    return read(data, "sunspots", "monthly-sunspots.csv", "sunspots", "count")


def read(data: Path | str | None, key: str, file: str, name: str, unit: str) -> Series:
    (path,) = locate(key, ["timeseries"], [[file]], data)
    return Series(*read_series(path), name, unit)


def read_series(path: Path | str) -> tuple[Array, Array]:
    """Times datetime64 (N,) and values float64 (N,) of a CSV file with a header and two columns: an ISO date, a number.

    ValueError names the row that is not so, or whose time is not after the one before.

    >>> times, values = read_series("passengers.csv")                                       # doctest: +SKIP
    """
    times, values = [], []
    with open(path, encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.reader(file), 1):
            if line == 1 or not row:
                continue
            try:
                date, value = row
                times.append(np.datetime64(date))
                values.append(number(value))
            except ValueError:
                raise ValueError(f"read_series: expected a date and a number in row {line} of {path}, "
                                 f"got {row}") from None  # fmt: skip
            early = np.isnat(times[-1]) or len(times) > 1 and not times[-1] > times[-2]
            if early or not np.isfinite(values[-1]):
                raise ValueError(f"read_series: expected a finite number and a date after that of the row before in "
                                 f"row {line} of {path}, got {row}")  # fmt: skip
    if not times:
        raise ValueError(f"read_series: expected rows of a date and a number in {path}, got none")
    return np.array(times), np.array(values)
