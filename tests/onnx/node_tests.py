"""Run the node tests of onnx.backend.test on weft.onnx.Backend, and count them by operator.

python tests/onnx/node_tests.py            # a line for each operator that fails or is not supported, and the sums
python tests/onnx/node_tests.py --verbose  # every operator, and the first words of each failure
python tests/onnx/node_tests.py Conv GRU   # these operators alone
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter, defaultdict


def node_cases():
    """Every node test that the installed onnx has, by name."""
    from onnx.backend.test.loader import load_node_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the makers of the tests divide by zero on purpose
        return {case.name: case for case in load_node_model_tests()}


def operator_of(case) -> str:
    """The operator that a test is of; a test of a definition out of other operators has its name in front."""
    nodes = case.model.graph.node
    if "_expanded" in case.name:
        return "definitions"
    return f"{nodes[0].domain}.{nodes[0].op_type}" if nodes[0].domain else nodes[0].op_type


def run_case(case) -> None:
    """Run one test and compare; raises where it does not pass."""
    from onnx.backend.test.runner import Runner, _normalize_tensor

    import weft

    prepared = weft.onnx.Backend.prepare(case.model)
    for inputs, outputs in case.data_sets:
        found = prepared.run([_normalize_tensor(x) for x in inputs])
        Runner.assert_similar_outputs([_normalize_tensor(x) for x in outputs], found, case.rtol, case.atol)


def outcome(case) -> tuple[str, str]:
    """("passed" | "unsupported" | "failed", why)."""
    import weft

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run_case(case)
    except weft.onnx.UnsupportedError as error:
        return "unsupported", str(error)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"
    return "passed", ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operators", nargs="*", help="only the tests of these operators")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, case in sorted(node_cases().items()):
        operator = operator_of(case)
        if options.operators and operator not in options.operators:
            continue
        found, why = outcome(case)
        counts[operator][found] += 1
        if why:
            reasons[operator].append(f"    {found}: {name}: {' '.join(why.split())[:300]}")
    total: Counter[str] = sum(counts.values(), Counter())
    for operator in sorted(counts):
        if options.verbose or set(counts[operator]) - {"passed"}:
            print(f"{operator:30s} " + ", ".join(f"{n} {what}" for what, n in sorted(counts[operator].items())))
            print(
                *reasons[operator] if options.verbose or options.operators else [],
                sep="\n",
                end="\n" * bool(options.verbose and reasons[operator]),
            )
    print(f"{total['passed']} passed, {total['failed']} failed, {total['unsupported']} unsupported")
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
