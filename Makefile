PYTHON ?= python3
BIN := .venv/bin
# Tests run single-threaded maths in two workers: faster than two threads each, and no spinning at barriers.
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

.PHONY: setup demo test test-slow check results parity docs browser clean

setup: .venv/.ready ## make .venv with everything the project needs

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tuningfork needs Python 3.11 or newer; set PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	# torch first and pinned: an open range would fetch a build with gigabytes of CUDA
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup ## the whole chain on the embedded world `colours`: from nothing to a verdict
	$(BIN)/tuningfork run snazzy

test: setup ## fast tests
	$(TEST_ENV) $(BIN)/python -m pytest -m 'not slow' -n 2

test-slow: setup ## kills, resumes, whole chains, the mutation run
	$(TEST_ENV) $(BIN)/python -m pytest -m slow -n 2 --dist loadgroup --no-loadscope-reorder

browser: ## Chromium for the tests of the labelling page, where there is none
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	else echo "no Chromium: the tests of the labelling page will be skipped; install the package chromium"; fi

check: setup ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: setup ## the tables of docs/methods.md, from the methods' files
	$(BIN)/python docs/generate.py

results: setup ## the training runs behind docs/results
	$(BIN)/python benchmarks/results.py

parity: setup .venv-parity/.ready ## losses and gradients of trl again, in an environment of its own, beside ours
	OMP_NUM_THREADS=1 .venv-parity/bin/python tests/reference/parity/golden.py
	$(BIN)/python tests/reference/parity/parity_table.py
	$(TEST_ENV) $(BIN)/python -m pytest tests/reference

.venv-parity/.ready: tests/reference/parity/requirements.txt constraints.txt
	test -x .venv-parity/bin/python || $(PYTHON) -m venv .venv-parity
	.venv-parity/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	.venv-parity/bin/python -m pip install --quiet --disable-pip-version-check -r tests/reference/parity/requirements.txt
	touch $@

clean: ## remove the environments; runs stay
	rm -rf .venv .venv-parity
