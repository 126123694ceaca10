PYTHON ?= python3
LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --extra postgres --extra redis --group build -q
export UV_CUSTOM_COMPILE_COMMAND = make lock

.PHONY: lock
lock:
	.venv/bin/uv pip compile $(LOCK) pyproject.toml -o locks/runtime.txt
	.venv/bin/uv pip compile $(LOCK) --group dev pyproject.toml -o locks/dev.txt
