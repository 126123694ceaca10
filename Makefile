# Two commands do all the set-up on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	--extra postgres --extra redis --group build -q
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q --no-deps
# Whole calls take their time and little of a processor: more tests at once than there are cores.
AT_ONCE ?= 3
# Calls over real sockets are in real time, and several at once may starve one: what failed has the machine to itself once
# more. What fails again is red.
AGAIN = $(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 3
export UV_CUSTOM_COMPILE_COMMAND = make lock

.PHONY: run install dev models test check bench lock front clean

run: install models ## start the product on embedded parts
	$(BIN)/moked up

install: .venv/.runtime ## .venv with .venv/bin/moked

dev: .venv/.dev

models: .venv/.runtime ## the embedded models, checked against the published hashes
	$(BIN)/moked models install

test: dev ## install what is needed, then lint, types and all tests
	$(BIN)/moked models install --all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile --no-loadscope-reorder || $(AGAIN)

check: dev ## lint and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: dev ## latency, density, overload and moves against the emulators, accuracy of Hebrew; results in bench/results
	$(BIN)/moked models install --all
	$(BIN)/python -m bench.latency
	$(BIN)/python -m bench.density
	$(BIN)/python -m bench.overload
	$(BIN)/python -m bench.migration
	$(BIN)/python -m bench.after_call
	$(BIN)/python -m bench.after_call_kill
	$(BIN)/python -m bench.whisper_fallback
	$(BIN)/python -m bench.accuracy

lock: .venv/.dev ## renew the locks from pyproject.toml
	$(BIN)/uv pip compile $(LOCK) pyproject.toml -o locks/runtime.txt
	$(BIN)/uv pip compile $(LOCK) --group dev pyproject.toml -o locks/dev.txt

front: ## the desk's style and fonts, compiled into the package; needs Node 20, as WhatsApp does
	cd front && npm ci --ignore-scripts --no-audit --no-fund && node build.mjs

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.runtime: .venv/bin/python locks/runtime.txt pyproject.toml
	$(PIP) --require-hashes -r locks/runtime.txt
	$(PIP) --no-build-isolation -e .
	@touch $@

.venv/.dev: .venv/.runtime locks/dev.txt
	$(PIP) --require-hashes -r locks/dev.txt
	@touch $@ .venv/.runtime
