"""Recipes: whole trainings in one short file each, to run with `weft train NAME`, to read, and to copy.

A recipe is a module with `run(device, epochs, seed, data, out, resume, steps, autocast) -> figures`, where every
argument has a default, and a copy may lack what it does not use.
One whose model classifies images also has `build(**settings)`, `prepare(path)` and the classes in its run's
config.json, which is what `weft predict` uses; one that writes text has `build` and `generate`.
"""
