# `make help` lists what there is. A fresh machine needs python3 (3.10 or newer), cargo, a C compiler and make;
# everything else goes into build/ and target/.

.DEFAULT_GOAL := help
# Steps print what they do, in order; two at once would mix their lines and fight over cargo's lock.
.NOTPARALLEL:

PYTHON ?= python3
# The MLflow that `make demo` runs: 3.17.2, 2.22.5 or 2.9.2.
MLFLOW ?= 3.17.2
# How long `make fuzz` runs each target, and which ones (none named: all).
MINUTES ?= 1
TARGETS ?=
# What `make test-matrix` runs: all, or a part, for example MATRIX="3.9.0 3.14.0 py3.10 default".
MATRIX ?= all
# More words for `make bench-python`, for example BENCH=--quick.
BENCH ?=
# More words for pytest, for example PYTEST="-k bearer -x".
PYTEST ?=

# One target folder and one profile for everything, so that each dependency is compiled once.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
# What is installed is the wheel. A PYTHONPATH of the person at the terminal must not put something else before it.
unexport PYTHONPATH

BIN := $(CURDIR)/build/venv/build/bin
TOOLS := $(CURDIR)/build/venv/tools/bin
MLFLOWS := mlflow-3.17.2 mlflow-3.17.2-uvloop mlflow-2.22.5 mlflow-2.9.2
# What `make test-providers` brings: rows of tools/providers.py.
REAL_PROVIDERS := keycloak-20.0.5 keycloak-26.7.5 dex oidc-provider
STEP := @tools/step
VENVS := @$(PYTHON) -B tools/venvs.py
# Asked of the shell each time: make's own wildcard remembers the folder as it was before the wheel was there.
THE_WHEEL = $$(ls build/wheel/*.whl)

# All that ends up in the wheel: when one of these is newer than the last wheel, it is built again.
SOURCES := $(shell find src python -type f ! -path '*/__pycache__/*' 2>/dev/null) \
	$(wildcard Cargo.toml Cargo.lock pyproject.toml README.md LICENSE)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile
	@printf '\nThe first run builds everything (about 5 minutes on 2 cores); later ones only what has changed.\n'

.PHONY: demo
demo: prerequisites build/wheel/.built ## Try it: MLflow, a provider and three people on loopback (CHECK=1: unattended; MLFLOW=2.9.2: another MLflow)
	$(VENVS) mlflow-$(MLFLOW) --wheel $(THE_WHEEL)
	@test -x build/venv/mlflow-$(MLFLOW)/bin/mlflow-oidc || { echo "*** MLflow $(MLFLOW) could not be installed"; exit 1; }
	@exec build/venv/mlflow-$(MLFLOW)/bin/mlflow-oidc demo $(if $(CHECK),--check) $(if $(PORT),--port $(PORT))

.PHONY: test
test: prerequisites-lint lint test-rust wheel test-packages instructions test-providers test-python ## Everything: format, lint, Rust, the packages, instructions, and pytest against real servers

.PHONY: lint
lint: prerequisites-lint lint-dependencies lint-rust lint-native lint-python ## Format, lint and dependencies only

# Only the first step may need a network: where every crate of Cargo.lock has been fetched, it asks nobody.
.PHONY: lint-dependencies
lint-dependencies: tools
	$(STEP) 'Fetching the crates of Cargo.lock (first time: 40 MB)' sh -ec \
		'for lock in $(wildcard Cargo.lock */Cargo.lock */*/Cargo.lock); do cargo fetch --locked --quiet --manifest-path $${lock%lock}toml; done'
	$(STEP) 'Checking licences, versions and sources of the dependencies (seconds)' \
		$(TOOLS)/python -P tools/check_dependencies.py

.PHONY: lint-rust
lint-rust:
	$(STEP) 'Checking the format of the Rust code (seconds)' cargo fmt --check
	$(STEP) 'Checking that the pure core compiles alone (first time: a minute)' \
		cargo check --release --locked --no-default-features
	$(STEP) 'Linting the pure core (first time: a minute)' \
		cargo clippy --release --locked --all-targets --no-default-features -- -D warnings
	$(STEP) 'Linting the core and its edge (first time: two minutes)' \
		cargo clippy --release --locked --all-targets -- -D warnings

# With what maturin says to PyO3, which would otherwise be compiled anew at each change from the one to the other (a minute).
.PHONY: lint-native
lint-native: build/wheel/.built
	$(STEP) 'Linting the Python module (first time: a minute)' \
		env PYO3_BUILD_EXTENSION_MODULE=1 PYO3_CONFIG_FILE="$$(ls -t $(CARGO_TARGET_DIR)/maturin/pyo3-config-*.txt | head -n 1)" \
		cargo clippy --release --locked --lib --features python -- -D warnings

# The stubs are held against the binary, so the wheel has to be there.
.PHONY: lint-python
lint-python: tools build/wheel/.built
	$(VENVS) tools --wheel $(THE_WHEEL)
	$(STEP) 'Linting the Python code (seconds)' $(TOOLS)/ruff check python tests tools benches
	$(STEP) 'Checking the format of the Python code (seconds)' $(TOOLS)/ruff format --check python tests tools benches
	$(STEP) 'Checking the types of the Python code (first time: half a minute)' $(TOOLS)/mypy
	$(STEP) 'Holding the stubs against the native module (seconds)' \
		$(TOOLS)/python -P -m mypy.stubtest mlflow_oidc._native

.PHONY: format
format: tools ## Put the format right
	$(STEP) 'Formatting the Rust code' cargo fmt
	$(STEP) 'Formatting the Python code' $(TOOLS)/ruff format python tests tools benches
	$(STEP) 'Mending what the linter can mend' $(TOOLS)/ruff check --fix python tests tools benches

.PHONY: test-rust
test-rust: prerequisites ## cargo test: the pure core alone, then the whole
	$(STEP) 'Testing the pure core (first time: two minutes)' cargo test --release --locked --no-default-features
	$(STEP) 'Testing the core and its edge (first time: two minutes)' cargo test --release --locked

.PHONY: wheel
wheel: prerequisites build/wheel/.built ## Build the wheel into build/wheel
	@ls -l build/wheel/*.whl

# Built aside and moved, so that nobody ever installs half a wheel.
build/wheel/.built: $(SOURCES)
	$(VENVS) build
	@rm -rf build/wheel-new
	$(STEP) 'Building the wheel (first time: about 5 minutes)' \
		$(BIN)/maturin build --release --interpreter $(BIN)/python --out build/wheel-new
	@rm -rf build/wheel && mv build/wheel-new build/wheel && touch $@

.PHONY: test-packages
test-packages: prerequisites build/wheel/.built ## The wheel in an empty environment, and the sdist built as pip would
	$(VENVS) build empty --wheel $(THE_WHEEL)
	$(STEP) 'Importing the wheel in an empty environment (seconds)' \
		build/venv/empty/bin/python -P tools/check_installed.py
	$(STEP) 'Building a wheel from the sdist (a minute)' tools/build_sdist.sh $(BIN)
	$(VENVS) sdist --wheel $$(ls build/sdist/wheel/*.whl)
	$(STEP) 'Importing the wheel made from the sdist (seconds)' \
		build/venv/sdist/bin/python -P tools/check_installed.py

.PHONY: test-python
test-python: prerequisites tools build/wheel/.built build/prototype/.built ## pytest against real MLflow servers (PYTEST="-k bearer -x" for a part)
	$(VENVS) tools $(MLFLOWS) $$($(PYTHON) -B tools/matrix.py environments) --wheel $(THE_WHEEL)
	$(VENVS) bench --wheel $(THE_WHEEL) --wheel $$(ls build/prototype/*.whl)
	@STEP_IS_LAST=yes tools/step 'Testing with real MLflow servers (minutes)' \
		$(TOOLS)/python -P -m pytest $(wildcard tests/python tests/browser tests/matrix tests/replicas) $(PYTEST)

# Other versions, Pythons and servers than `make test-python`, which runs six cells of these.
.PHONY: test-matrix
test-matrix: prerequisites tools build/wheel/.built ## Every MLflow, Python and server (an hour or two; MATRIX="3.9.0 py3.10" for a part), and their table
	$(VENVS) tools $$($(PYTHON) -B tools/matrix.py environments $(MATRIX)) --wheel $(THE_WHEEL)
	@STEP_IS_LAST=yes tools/step 'Testing the matrix with real MLflow servers (an hour)' sh -c '\
		MLFLOW_OIDC_MATRIX="$(MATRIX)" $(TOOLS)/python -P -m pytest tests/matrix $(PYTEST); \
		status=$$?; $(PYTHON) -B tools/matrix.py table; exit $$status'

# A part of the cases is no row of the table, so that only a whole run writes it; CI compares instead.
.PHONY: test-providers
test-providers: prerequisites tools build/wheel/.built ## Real providers with MLflow and Chromium, and the table of docs/providers (needs java, mvn, go, gcc, node and npm)
	$(VENVS) tools mlflow-3.17.2 --wheel $(THE_WHEEL)
	@$(PYTHON) -B tools/providers.py $(REAL_PROVIDERS)
	$(STEP) 'Testing with real providers (6 minutes)' $(TOOLS)/python -P -m pytest -r fE tests/providers $(PYTEST)
	$(if $(PYTEST),,$(STEP) 'Writing the table of docs/providers' $(PYTHON) -B tools/providers_table.py)

# The provider is gone for a minute then, and a dozen seconds in `make test`.
.PHONY: test-replicas
test-replicas: prerequisites tools build/wheel/.built ## Three servers over one PostgreSQL, with what may break; the rows of docs/replicas.md (five minutes)
	$(VENVS) tools mlflow-3.17.2 --wheel $(THE_WHEEL)
	@rm -f build/replicas.md
	$(STEP) 'Testing three servers (five minutes)' \
		env MLFLOW_OIDC_FIGURES=build/replicas.md $(TOOLS)/python -P -m pytest tests/replicas $(PYTEST)
	@cat build/replicas.md

# What a bench uses of the tests' helpers, it uses from where they are.
WITH_HELPERS := PYTHONPATH=tests/python $(TOOLS)/python -P

.PHONY: bench-keep-alive
bench-keep-alive: prerequisites tools build/wheel/.built ## What a kept connection costs, by workers, without uvloop and with it (two minutes)
	$(VENVS) tools mlflow-3.17.2 mlflow-3.17.2-uvloop --wheel $(THE_WHEEL)
	@$(WITH_HELPERS) benches/http/keep_alive.py

.PHONY: bench-waiting
bench-waiting: prerequisites tools build/wheel/.built ## What others wait for while the provider takes 5 s, and how long the event loop is held (six minutes)
	$(VENVS) tools mlflow-3.17.2 mlflow-2.9.2 --wheel $(THE_WHEEL)
	@$(WITH_HELPERS) benches/waiting/waiting.py

# The rooms in which a missing check would let somebody in, and the rules that have to notice.
CHECKED := $(wildcard src/jose/*.rs src/oidc/*.rs src/session/*.rs src/identity/*.rs) \
	$(patsubst %,src/app/%.rs,callback bearer backchannel exchange browser return_to routes sources)

.PHONY: mutants
mutants: ## Take each check out of the code, one at a time: a rule has to turn red (two hours; needs cargo-mutants)
	@command -v cargo-mutants >/dev/null || { echo '*** `cargo install cargo-mutants --locked` first'; exit 1; }
	@rm -rf build/mutants && mkdir -p build/mutants
	git ls-files -z | xargs -0 cp --parents -t build/mutants
	-cd build/mutants && $(PYTHON) -B tools/remove_checks.py $(CHECKED) -- \
		cargo test --locked --profile mutants --no-default-features --test rules
	cd build/mutants && cargo mutants --in-place --output ../mutants-report

.PHONY: fuzz
fuzz: prerequisites ## Fuzz every target for MINUTES=1 each (TARGETS="next compact" for some); needs cargo-fuzz and a nightly Rust
	@tools/fuzz.sh $(MINUTES) $(TARGETS)

# The floor that the wheel is measured against, a crate of its own.
build/prototype/.built: $(wildcard benches/prototype/src/*.rs benches/prototype/Cargo.* benches/prototype/pyproject.toml)
	$(VENVS) build
	@rm -rf build/prototype
	$(STEP) 'Building the prototype (first time: a minute)' sh -ec 'cd benches/prototype && \
		$(BIN)/maturin build --release --interpreter $(BIN)/python --out $(CURDIR)/build/prototype'
	@touch $@

# Counts, not times: they are the same on a busy machine, so they may fail the build.
.PHONY: instructions
instructions: prerequisites tools build/wheel/.built ## Count the instructions of the hot paths against their record (RECORD=yes writes it; needs valgrind)
	$(VENVS) tools instructions --wheel $(THE_WHEEL)
	$(STEP) 'Counting the instructions of the hot paths (half a minute)' $(TOOLS)/python -B benches/instructions/run.py \
		--python build/venv/instructions/bin/python $(if $(RECORD),--record)

.PHONY: bench-core
bench-core: prerequisites ## Time the core by criterion (two minutes; BENCH="decided" for a part)
	@cargo bench --locked --bench core -- --warm-up-time 1 --measurement-time 3 $(BENCH)

.PHONY: bench-python
bench-python: prerequisites build/wheel/.built build/prototype/.built ## Measure the installed wheel beside its baselines (BENCH=--quick: a minute; needs Python 3.12)
	$(VENVS) bench --wheel $(THE_WHEEL) --wheel $$(ls build/prototype/*.whl)
	@if [ -x build/venv/bench/bin/python ]; then build/venv/bench/bin/python -B benches/python/run.py $(BENCH); fi

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf build target .mypy_cache .ruff_cache .pytest_cache
	find python tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: prerequisites prerequisites-lint tools
prerequisites:
	@PYTHON=$(PYTHON) tools/check_prerequisites.sh
prerequisites-lint:
	@PYTHON=$(PYTHON) tools/check_prerequisites.sh lint
tools: prerequisites
	$(VENVS) build tools
