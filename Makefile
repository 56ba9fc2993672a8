# Everything that CI runs, at the desk. PY=.venv/bin by default.
PY ?= .venv/bin

.PHONY: check format lint types imports test docs bench

check: lint types imports test

format:
	$(PY)/ruff format .
	$(PY)/ruff check --fix .

lint:
	$(PY)/ruff format --check .
	$(PY)/ruff check .

types:
	$(PY)/mypy

imports:
	$(PY)/lint-imports

test:
	$(PY)/pytest

docs:  # site/index.html; needs pip install -e '.[docs]'
	$(PY)/python -m sphinx -W --keep-going -q -b html docs site

bench:
	$(PY)/python -m benchmarks.append
	$(PY)/python -m benchmarks.event_store
	$(PY)/python -m benchmarks.replay
	$(PY)/python -m benchmarks.growth
	$(PY)/python -m benchmarks.groups
