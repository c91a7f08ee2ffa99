# `make demo` and `make test` set up everything they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-spark check wheel docs clean

demo: $(STAMP)
	$(BIN)/kpiaudit scan sample_data --exit-zero

test: check wheel

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict kpiaudit
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto --dist loadgroup

# Spark's part of the suite, which takes minutes: without Java it is skipped, and says so.
test-spark: $(STAMP)
	command -v java >/dev/null || test "$$(id -u)" != 0 || { apt-get update -qq && apt-get install -y -qq default-jre-headless; } || true
	$(BIN)/python -m pip install --quiet "pyspark>=4.0" "pyarrow>=20"
	$(BIN)/pytest -m spark tests/tables/engines tests/detectors/test_engines.py

# The built wheel, in an empty environment, must be able to scan.
wheel: $(STAMP)
	$(BIN)/python tools/try_wheel.py

docs: $(STAMP)
	$(BIN)/python tools/write_docs.py

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
