# make demo starts the page; make test, lint, format and bench are for those who change the code.
# Works with GNU make 3.81, which macOS ships.

VENV := .venv
BIN := $(VENV)/bin
# More arguments for a command: make test ARGS="-k layer", make demo ARGS="--port 8000".
ARGS :=

# Nothing here tells anybody that it runs.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export GRADIO_ANALYTICS_ENABLED := False
export HF_HUB_DISABLE_TELEMETRY := 1
export DISABLE_TELEMETRY := 1

.PHONY: demo test lint format bench clean

demo: $(VENV)/installed
	$(BIN)/python -m app $(ARGS)

# As many tests at once as there are processors, each on one.
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed
	$(BIN)/memorywrap bench $(ARGS)

clean:
	rm -rf $(VENV)

# The stamps tell what is installed: written last, so that an interrupted installation goes on.
$(VENV)/installed: $(BIN)/python requirements.txt pyproject.toml
	$(BIN)/python -m pip install --requirement requirements.txt
	$(BIN)/python -m pip install --no-deps --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(BIN)/python -m pip install --requirement requirements-dev.txt
	touch $@

$(BIN)/python:
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; \
	  then echo "$$python -m venv $(VENV)" && exec $$python -m venv $(VENV); fi; \
	done; \
	echo "Python 3.11, 3.12, 3.13 or 3.14 with its venv module is needed and none was found:" \
	  "install one (from python.org, or as python3 and python3-venv) and run make again." >&2; \
	exit 1
