# `make demo` and `make test` are all one needs; both install what they use into .venv.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
INSTALL := $(RUN)/pip install -q --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all llama-cpp check bench clean

demo: $(VENV)/.core
	$(RUN)/puna run recipes/nano.yaml

test: $(VENV)/.dev
	$(RUN)/python -m pytest -n 2 --dist worksteal

test-all: $(VENV)/.dev
	$(RUN)/python -m pytest -n 2 --dist worksteal -m "long or not long"

# Builds llama.cpp from source (minutes, wants a C++ compiler): test-all then lets it read our GGUF files.
llama-cpp: $(VENV)/.dev
	$(INSTALL) -e '.[llama-cpp]'

# The environment of a peer that a benchmark runs beside ours, e.g. `make peer-datatrove`.
peer-%: benchmarks/peers/%.txt
	$(PYTHON) -m venv benchmarks/peers/.venv-$*
	benchmarks/peers/.venv-$*/bin/pip install -q --disable-pip-version-check -r $<

check: $(VENV)/.dev
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/python -m pytest tests/architecture

bench: $(VENV)/.dev
	$(RUN)/python -m benchmarks.model
	$(RUN)/python -m benchmarks.train

$(VENV)/.core: pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(INSTALL) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
