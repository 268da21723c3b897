#!/usr/bin/env bash
# Runs the array API standard's public conformance suite on Weft, from a clone of it:
#
#   git clone --recurse-submodules https://github.com/data-apis/array-api-tests
#   tools/conformance.sh array-api-tests [ARGUMENT OF PYTEST...]
#
# What is known to fail is in tests/standard/expected_failures.txt. ARRAY_API_TESTS_MODULE runs another module, for
# comparison: numpy, array_api_strict. PYTHON names the interpreter; what the suite needs is installed beside it.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

if [[ ! -d "${1:-}/array_api_tests" ]]; then
  echo "conformance.sh: expected the folder of a clone of data-apis/array-api-tests, got '${1:-}'" >&2
  exit 2
fi
suite=$(cd "$1" && pwd)
shift
if [[ ! -d "$suite/array-api/src/array_api_stubs" ]]; then
  echo "conformance.sh: the standard's text is missing: git -C '$suite' submodule update --init" >&2
  exit 2
fi

python=${PYTHON:-$root/.venv/bin/python}
if [[ "$python" == */* ]]; then python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python"); fi
if [[ -e "$suite/requirements.txt" ]]; then "$python" -m pip install --quiet -r "$suite/requirements.txt"; fi

export ARRAY_API_TESTS_MODULE=${ARRAY_API_TESTS_MODULE:-weft} ARRAY_API_TESTS_VERSION=${ARRAY_API_TESTS_VERSION:-2024.12}
known=()
if [[ "$ARRAY_API_TESTS_MODULE" == weft ]]; then known=(--xfails-file "$root/tests/standard/expected_failures.txt"); fi
cd "$suite"
exec "$python" -m pytest array_api_tests -q -p no:cacheprovider --disable-deadline --derandomize \
  ${known[@]+"${known[@]}"} "$@"
