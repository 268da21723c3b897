"""`weft generate RUN --prompt TEXT`: what a trained run writes after, or in answer to, a text."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder, such as runs/shakespeare-1 or runs/dates-1")
    parser.add_argument("--prompt", required=True, help="the text to go on from (for dates: the date to translate)")
    parser.add_argument("--length", type=int, default=400, help="how many characters to write (default 400)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0: the likeliest; more is bolder (default 0.8)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of characters (default 0)")


def run(options: argparse.Namespace) -> int:
    from weft.cli.runs import open_run

    if options.length < 1 or options.temperature < 0:
        got = f"{options.length} and {options.temperature}"
        raise ValueError(f"expected --length >= 1 and --temperature >= 0, got {got}")
    recipe, settings, model = open_run(options.run, "generate")
    text = recipe.generate(
        model, settings, options.prompt, length=options.length, temperature=options.temperature, seed=options.seed
    )
    print(text)
    return 0
