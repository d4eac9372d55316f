# The commands of a working day; `make help` lists them. CI runs `.ci/run`, which is `make check` in a fresh clone.
.DEFAULT_GOAL := help
.PHONY: help setup demo stop test unit lint format types migrations coverage check clean

BIN := .venv/bin

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-11s %s\n", $$1, $$2}' Makefile

$(BIN)/pytest: pyproject.toml
	python3 -m venv .venv
	$(BIN)/pip install -q -e '.[servers,dev]'
	@touch $@

setup: $(BIN)/pytest ## A virtual environment in .venv with everything

demo: setup ## The whole product on the bundled sample
	$(BIN)/issuetide demo

stop: setup ## Stop the local servers that demo has started
	$(BIN)/issuetide servers stop

test: setup ## All tests
	$(BIN)/pytest

unit: setup ## The fast tests only
	$(BIN)/pytest tests/unit

lint: setup ## Rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## Mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## mypy, strict
	$(BIN)/mypy

migrations: setup ## Do migrations and tables agree? On DATABASE_URL, or else on the embedded PostgreSQL
	$(BIN)/issuetide db upgrade
	DATABASE_URL="$${DATABASE_URL:-$$($(BIN)/issuetide db url)}" $(BIN)/alembic check

coverage: setup ## All tests, with what they do not reach
	$(BIN)/pytest --cov --cov-report=term --cov-report=html

check: lint types test ## What CI runs

clean: ## Remove what these commands have made, but for the servers' data
	rm -rf .venv build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
