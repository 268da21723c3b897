#!/usr/bin/env bash
# Gets what the tests of pages need and Python's package index has not: Chromium and the JavaScript libraries. What
# cannot be had is said, and the tests that need it are skipped with that reason.
set -uo pipefail
cd "$(dirname "$0")/.."

if ! command -v chromium chromium-browser google-chrome > /dev/null; then
  if [[ $(id -u) == 0 ]] && command -v apt-get > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    { timeout 120 apt-get update && timeout 600 apt-get install -y --no-install-recommends chromium; } > /dev/null 2>&1 ||
      echo "apt-get could not install Chromium"
  else
    echo "Chromium is missing; on Debian: sudo apt-get install -y chromium"
  fi
fi

for engine in tfjs onnx; do
  .venv/bin/python -c "import sys; from weft.browser import runtime; runtime.get(sys.argv[1], progress=False)" "$engine" ||
    echo "$engine could not be fetched from npm"
done
