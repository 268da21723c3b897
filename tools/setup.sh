#!/usr/bin/env bash
# Creates .venv and installs Weft into it, in place. Every step is skipped when nothing it reads has changed.
#
#   tools/setup.sh [EXTRA...]     extras of pyproject.toml; "gpu" means cuda12 or cuda13, as the driver asks, or nothing
#
# PYTHON names the interpreter. A machine with no compiler gets plain NumPy and is told so; with CI=true or
# WEFT_REQUIRE_NATIVE=1 that is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

required() { [[ "${CI:-}" == true || "${WEFT_REQUIRE_NATIVE:-}" == 1 ]]; }

# The one line that installs what is missing, for this machine's package manager.
install_line() {
  if command -v apt-get > /dev/null; then
    say "    sudo apt-get install -y python3 python3-venv python3-dev g++ make"
  elif command -v dnf > /dev/null; then
    say "    sudo dnf install -y python3.12 python3.12-devel gcc-c++ make"
  elif command -v brew > /dev/null; then
    say "    brew install python@3.12 gcc make"
  else
    say "    install Python >= 3.11 with venv and headers, a C++17 compiler and make"
  fi
}

find_python() {
  local name
  for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
      echo "$name"
      return
    fi
  done
  say "Weft needs Python >= 3.11; found $(${PYTHON:-python3} --version 2>&1 || true). To install it:"
  install_line
  exit 1
}

make_venv() {
  local python=$1
  if ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
    say "$("$python" --version) has no venv module. To install it:"
    install_line
    exit 1
  fi
  say "Creating .venv with $("$python" --version)"
  "$python" -m venv .venv
}

# A compiler and Python's headers build the extension; without them the install still succeeds, on plain NumPy.
check_compiler() {
  local headers
  headers=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
  if [[ -n "${CXX:-}" ]] && command -v "$CXX" > /dev/null || command -v g++ > /dev/null || command -v clang++ > /dev/null; then
    if [[ -e "$headers/Python.h" ]]; then return; fi
    say "Python's headers are missing ($headers/Python.h): Weft will run on plain NumPy, many times slower. To install them:"
  else
    say "No C++ compiler (g++ or clang++): Weft will run on plain NumPy, many times slower. To install one:"
  fi
  install_line
  say "and then run the same command again."
  if required; then exit 1; fi
}

# cuda13 needs driver 580 or later; any other driver gets cuda12.
gpu_extra() {
  local driver
  driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2> /dev/null | head -n 1 || true)
  if [[ ! "$driver" =~ ^[0-9]+ ]]; then return; fi
  if (( ${BASH_REMATCH[0]} >= 580 )); then echo cuda13; else echo cuda12; fi
}

extras=()
for extra in "$@"; do
  if [[ "$extra" == gpu ]]; then extra=$(gpu_extra); fi
  if [[ -n "$extra" ]]; then extras+=("$extra"); fi
done

python=$(find_python)
if [[ ! -x .venv/bin/python ]]; then make_venv "$python"; fi
check_compiler

stamps=.venv/stamps
mkdir -p "$stamps"

# The package, its run-time dependencies and the tools that build it, once per change of the metadata.
if [[ ! -e $stamps/base || pyproject.toml -nt $stamps/base || setup.py -nt $stamps/base ]]; then
  say "Installing Weft and what it needs"
  .venv/bin/python -m pip install --quiet "setuptools>=77" "pybind11>=2.13" "cmake>=3.20" ninja
  rm -f $stamps/native
  touch $stamps/base.new
fi

# The extension, once per change of a C++ source. The stamp is kept only if there is one to keep.
newer=$(find setup.py CMakeLists.txt csrc kernels -type f -newer $stamps/native 2> /dev/null | head -n 1 || true)
if [[ ! -e $stamps/native || -n "$newer" || -e $stamps/base.new ]]; then
  say "Building the C++ extension"
  touch $stamps/native.new
  .venv/bin/python -m pip install --quiet --no-build-isolation --editable .
  if WEFT_NATIVE=1 .venv/bin/python -c 'import weft._cpu' 2> /dev/null; then
    mv $stamps/native.new $stamps/native
  else
    rm -f $stamps/native.new
    say "The C++ extension did not build; Weft runs on plain NumPy. \`weft doctor\` shows the compiler's words:"
    if required; then .venv/bin/weft doctor >&2 || true; exit 1; fi
  fi
  if [[ -e $stamps/base.new ]]; then mv $stamps/base.new $stamps/base; fi
fi

for extra in ${extras[@]+"${extras[@]}"}; do
  if [[ -e $stamps/$extra && ! pyproject.toml -nt $stamps/$extra ]]; then continue; fi
  say "Installing the extra '$extra'"
  .venv/bin/python -m pip install --quiet "weft[$extra]"
  touch "$stamps/$extra"
done
