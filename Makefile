# make quickstart   environment, then the whole pipeline on the embedded benchmark
# make test         environment, then the tests
# make docs         the documentation site, in site/; it is strict about links
# make quality      ruff, mypy and the direction of imports;  make style mends what ruff can mend
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test docs quality style environment clean

quickstart: environment
	$(BIN)/accelerate launch --config_file accelerate_config.yaml scripts/extract.py
	$(BIN)/accelerate launch --config_file accelerate_config.yaml scripts/train_dcrgan.py --name quickstart
	$(BIN)/python scripts/report.py runs/quickstart

test: environment
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile

docs: environment
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open site/index.html.  The search needs a server: $(BIN)/python -m http.server --directory site"

quality: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

style: environment
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

environment: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs,offline,serve]'
	touch $@

clean:
	rm -rf $(VENV) data/shapes runs/quickstart site
