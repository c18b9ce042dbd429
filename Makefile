# Python 3.11 or later and make are all that a fresh machine needs; the rest is installed here. ARGS="…" is passed on.

BIN := .venv/bin
# What is compiled is kept, whatever the environment says: each of a hundred kernels and servers would do it again.
export PYTHONDONTWRITEBYTECODE :=
READY := .venv/.ready
# Groups of tests are shared out by the marks that tests/conftest.py sets, in its order.
PYTEST := $(BIN)/python -m pytest --dist loadgroup --no-loadscope-reorder
# Tests of code that waits for no server, kernel or browser, and the types. Each row of the benchmark is run once.
UNITS = tests/brokers tests/model tests/store tests/widgets tests/sim/market tests/sim/accounts tests/bench \
	$(filter-out tests/test_cli.py,$(wildcard tests/test_*.py))

.PHONY: help venv demo check test test-long chromium test-faults test-frontends bench views pictures docs dist soak lint style lock plotly-script wheels-check clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' Makefile

venv: $(READY)  ## set up .venv from the lock file

$(READY): requirements.lock pyproject.toml .ci/venv
	@.ci/venv
	@touch $@

demo: venv  ## open JupyterLab on the first notebook, with a simulated market
	$(BIN)/aries-nb demo $(ARGS)

lint: style  ## formatting, lint rules, words and types
	@.ci/stage types $(BIN)/mypy

style: venv
	@.ci/stage format $(BIN)/ruff format --check --quiet .
	@.ci/stage lint $(BIN)/ruff check --quiet .
	@.ci/stage words $(BIN)/python .ci/words

check: style  ## the daily one, about a minute: formatting, lint rules, words, types, unit tests, each row of the benchmark once
	@$(PYTEST) --numprocesses 2 -m "not browser and not long" $(UNITS) $(ARGS)

# The system brings Chromium while .venv is made. mypy is one of the tests: it would leave a processor idle. pytest comes
# last and bare, so that its summary is the last line.
test:  ## everything, about 10 minutes: what check does, and server, kernel, notebook and browser tests
	@$(MAKE) --no-print-directory --jobs 2 chromium style
	@$(PYTEST) --numprocesses 3 -m "not long" $(ARGS)

chromium:
	@.ci/stage chromium .ci/system chromium

test-long: test-faults soak test-frontends  ## these three and the tests that wait long, about an hour: run it before a release
	@$(PYTEST) -m long

test-faults: venv  ## a thousand schedules of faults between broker and client, for minutes; ARGS="--schedules 200 --start 7"
	@$(PYTEST) tests/faults -m "not long" --schedules 1000 $(ARGS)

bench: venv  ## measure the budgets, side by side with the peers
	$(BIN)/python tests/bench/run.py $(ARGS)

test-frontends: venv chromium  ## with the oldest and newest plotly, anywidget, ipywidgets, websockets; marimo, Voila
	@$(BIN)/python tests/frontends/versions.py
	@$(BIN)/python tests/frontends/other_front_ends.py

views: venv chromium  ## measure what views promise, accessibility too, in Chromium, for minutes; ARGS=--loaded next to two busy processes
	$(BIN)/python tests/views/measure_views.py $(ARGS)

pictures: venv chromium  ## make the notebooks' pictures in docs anew; ARGS=FOLDER saves all notebooks' instead, to be looked at
	$(BIN)/python tests/views/pictures.py $(or $(ARGS),--docs)

docs: venv  ## build the documentation site into build/docs: notebooks executed, warnings and broken links are errors; minutes
	@rm -rf build/docs
	@.ci/stage docs $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs build/docs
	@$(BIN)/python .ci/links build/docs

dist: venv  ## build the sdist, and out of it the wheel, into dist/
	@rm -rf dist && mkdir -p build
	@.ci/stage build $(BIN)/python -m build --no-isolation >build/dist.log || { cat build/dist.log; exit 1; }
	@ls -l dist

soak: venv  ## run for minutes what the tests run for seconds
	@for script in tests/soak/*.py; do $(BIN)/python $$script $(ARGS) || exit; done

lock:  ## pin the newest versions that pyproject.toml allows with ARGS=--upgrade, else only what changed
	@.ci/lock $(ARGS)

# The lock file's plotly is to be installed already; npm is needed for this alone.
plotly-script: venv  ## renew the part of plotly.js that the package brings, after `make lock` has changed plotly's version
	@.ci/plotly-script

wheels-check:  ## ask the package index whether wheels alone are enough, for each Python and system; minutes
	@.ci/wheels

clean:  ## remove everything that make and the tools have made
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
