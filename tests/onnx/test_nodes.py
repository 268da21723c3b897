"""onnx's own node tests: each passes, is of what Weft does not support, or fails for a reason that is written down."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from policy import needs

PASSING = 1_700  # of 1,884 that onnx 1.23 has

spec = importlib.util.spec_from_file_location("node_tests", Path(__file__).with_name("node_tests.py"))
node_tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(node_tests)


@needs("onnx")
def test_every_node_test_passes_or_is_explained():
    from weft.onnx.operators.unsupported import EXPECTED_FAILURES

    passed, unexpected, explained = 0, [], set()
    for name, case in node_tests.node_cases().items():
        found, why = node_tests.outcome(case)
        passed += found == "passed"
        if found == "failed":
            patterns = [p for p in EXPECTED_FAILURES if re.fullmatch(p, name)]
            explained.update(patterns)
            if not patterns:
                unexpected.append(f"{name}: {why[:200]}")
    assert not unexpected, "\n".join(unexpected)
    assert explained == set(EXPECTED_FAILURES), "an explanation of what passes now"
    assert passed >= PASSING
