"""`weft data get NAME` fetches a data set; `weft data` says which are here and where they were looked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "weft data [get NAME...] [--data DIR]"
    parser.add_argument("action", nargs="?", choices=["get"], help="fetch; without it, only look")
    parser.add_argument("names", nargs="*", metavar="NAME", help="as the list says that comes without them")
    parser.add_argument("--data", metavar="DIR", help="where to look, or to put it (default: a cache folder)")


def run(options: argparse.Namespace) -> int:
    if options.action is None:
        return look(options.data)
    from weft.data import download

    if not options.names:
        raise ValueError(f"data get: expected one or more of {', '.join(download.SOURCES)}, got none")
    for name in options.names:
        print(f"{name}: {download.get(name, options.data)}")
    return 0


def look(data: str | None) -> int:
    from weft.data import catalog, corpora, download, series

    readers: dict[str, Callable[..., Any]] = {
        "mnist": catalog.mnist, "fashion": catalog.fashion_mnist, "shakespeare": catalog.tiny_shakespeare,
        "gpt2-bpe": catalog.gpt2_tokenizer, "sst2": corpora.sst2, "sms": corpora.sms_spam, "names": corpora.first_names,
        "temperatures": series.daily_temperatures, "passengers": series.airline_passengers,
        "sunspots": series.sunspots,
    }  # fmt: skip
    for name, read in readers.items():
        try:
            read(data)
            print(f"here     {name}")
        except catalog.MissingDataError:
            print(f"missing  {name:12s} weft data get {name}")
    print("\nLooked in", *catalog.search_roots(data), sep="\n  ")
    print("\nTo be had:")
    print(download.describe())
    return 0
