# The commands of the README. Each sets up .venv first, and does nothing it has done before.
SHELL := /bin/bash
# What may not be skipped is installed (tests/policy.py).
PEERS := $(if $(or $(filter true,$(CI)),$(WEFT_DATA)),peers,)
WEFT := .venv/bin/weft
# A file of tests stays in one process: its kernels are compiled once. In order, or the few long examples came last, alone.
PYTEST := .venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help train test test-full conformance fuzz bench gallery gpu lint format native clean

help:
	@echo "make train      set up, then train a CNN on handwritten digits and a transformer on dates (5 minutes)"
	@echo "make test       set up, then run the test suite; make test-full adds the slow cases"
	@echo "make conformance SUITE=DIR  set up, then run the array API's public suite from a clone of it (2 minutes)"
	@echo "make fuzz       set up, then read thousands of damaged files, and fuzz the readers of files (10 minutes)"
	@echo "make bench      set up, then run the benchmarks (against PyTorch)"
	@echo "make gallery    set up, then run every example and make docs/gallery.md with its pictures (30 minutes)"
	@echo "make gpu        on a machine with an NVIDIA GPU, 9 minutes, no network: build, tests, golden vectors, benchmarks"
	@echo "make lint       ruff, mypy, clang-format; make format applies what they can mend"
	@echo "make native     build the C++ extension in place"

train:
	@tools/setup.sh examples gpu
	$(WEFT) train digits dates

test:
	@tools/setup.sh examples test gpu $(PEERS)
	$(PYTEST) $(ARGS)

test-full:
	@tools/setup.sh examples test gpu peers
	$(PYTEST) --full $(ARGS)

conformance:
	@tools/setup.sh test
	tools/conformance.sh "$(SUITE)" $(ARGS)

FUZZ_SECONDS := 600
fuzz:
	@tools/setup.sh fuzz
	.venv/bin/python fuzz/mutated.py
	.venv/bin/python fuzz/mutated_onnx.py --files 10000
	.venv/bin/python fuzz/run.py --seconds $(FUZZ_SECONDS) $(ARGS)

bench:
	@tools/setup.sh examples gpu peers
	$(WEFT) bench $(ARGS)

gallery:
	@tools/setup.sh examples
	.venv/bin/python benchmarks/bench_examples.py $(ARGS)
	.venv/bin/python benchmarks/gallery.py

# No network and no .venv: the machine's own Python has what it needs. ARGS="--device emulated" rehearses.
gpu:
	$(or $(PYTHON),python3) tools/gpu.py $(ARGS)

lint:
	@tools/setup.sh lint
	.venv/bin/ruff check .
	.venv/bin/mypy
	git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.inc' 'kernels/*.cu' 'kernels/*.cuh' | xargs -r .venv/bin/clang-format --dry-run -Werror

format:
	@tools/setup.sh lint
	.venv/bin/ruff check --fix .
	git ls-files 'csrc/*.h' 'csrc/*.cpp' 'csrc/*.inc' 'kernels/*.cu' 'kernels/*.cuh' | xargs -r .venv/bin/clang-format -i

native:
	@tools/setup.sh

clean:
	rm -rf .venv build dist python/*.egg-info python/weft/_cpu*.so
