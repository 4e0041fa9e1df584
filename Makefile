# `make` alone says what there is. Everything works on a machine that has git, make,
# gcc and cargo; whatever else is missing is installed (and said) or named.

CARGO ?= cargo
# Test engines need root. Who isn't root runs `make demo SUDO=sudo`: building stays
# with the user, only what needs it is run by root.
SUDO ?=

TUPLE = $(shell rustc --print host-tuple 2>/dev/null)
TARGET_DIR = $(abspath $(or $(CARGO_TARGET_DIR),target))
# Always the whole workspace: what is tested is then, bit for bit, what is shipped.
BUILD = $(CARGO) build --workspace --release --locked
RELEASE = $(TARGET_DIR)/$(TUPLE)/release
TEST = $(CARGO) test --workspace --locked $(if $(SUDO),--config 'target.$(TUPLE).runner="$(SUDO) --preserve-env"')
# The engine suite tests the program as it is shipped.
export CHANGEOVER_BIN_DIR = $(RELEASE)

.DEFAULT_GOAL := help
.PHONY: help build demo test seeds engines corpus examples schemas torture soak fuzz bench image lint clean tools

help: ## Say what there is
	@echo "Changeover: replaces a running container while visitors watch a page instead of an error."
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Throw-away Docker engines take root: as another user, add SUDO=sudo to what starts them."

build: tools ## Build the program: one static file
	$(BUILD)
	@ls -l "$(RELEASE)/changeover"

demo: tools ## See an update and a rollback, with visitors coming all the time (1 minute)
	$(BUILD)
	@$(SUDO) "$(RELEASE)/demo"

test: tools ## Run all tests, on real engines of three versions
	$(BUILD)
	@$(SUDO) "$(RELEASE)/lab" install
	$(TEST) --no-fail-fast

seeds: tools ## Run updates on an engine that fails by the dice: make seeds SEEDS=100000
	@CHANGEOVER_SEEDS="$(SEEDS)" $(CARGO) test --release --package changeover --locked --lib whatever_goes_wrong -- --nocapture

engines: tools ## Run the engine suite alone, every case on every engine: make engines CASES=28.5
	$(BUILD)
	CHANGEOVER_EVERYWHERE=1 $(TEST) --test engines -- $(CASES)

examples: tools ## Press the examples' buttons in a browser, on three engines
	$(BUILD)
	CHANGEOVER_EXAMPLES=1 $(TEST) --test engines -- each_example

schemas: tools ## Make docs/schemas anew, from the types
	CHANGEOVER_WRITE_SCHEMAS=1 $(CARGO) test --package changeover --locked --lib published_schemas

torture: tools ## Try every crash at every place, and print the matrix (2 hours): make torture CASES=28.5
	$(BUILD)
	CHANGEOVER_TORTURE=1 $(TEST) --test engines -- $(CASES)

corpus: tools ## Really update every container of the corpus, or some: make corpus CASES=28.5::port
	$(BUILD)
	CHANGEOVER_TORTURE=1 $(TEST) --test corpus -- $(CASES)

soak: tools ## Update and roll back 200 times in a row under load: make soak CASES=28.5
	$(BUILD)
	CHANGEOVER_SOAK=200 $(TEST) --test engines -- $(or $(CASES),28.5)::updates_and_rollbacks --nocapture

fuzz: tools ## Feed a million broken inputs to whatever reads something: make fuzz INPUTS=10000000
	CHANGEOVER_FUZZ="$(or $(INPUTS),1000000)" $(CARGO) test --release --package changeover --locked --lib no_input_makes -- --nocapture

bench: tools ## Compare with docker stop, start and run, and with nginx: make bench BENCH='--engine all'
	$(BUILD)
	@$(SUDO) "$(RELEASE)/bench" $(BENCH)

image: tools ## Make the helper's image, by the Docker that is here or as a file
	$(BUILD)
	@VERSION="$$($(CARGO) pkgid -p changeover | sed 's/.*[#@]//')" BINARY="$(RELEASE)/changeover" ./.ci/image

lint: tools ## Formatting, lints, docs, licences, scripts
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	./.ci/licences
	./.ci/scripts

clean: ## Remove what was built
	$(CARGO) clean

tools:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: see https://rustup.rs, or the package rustup or cargo" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler's linker is missing: install the package gcc" >&2; exit 1; }
	@test -n "$(TUPLE)" || { echo "rustc is missing or older than 1.91: see https://rustup.rs" >&2; exit 1; }
	@test "$(filter lint,$(MAKECMDGOALS))" = "" || { $(CARGO) fmt --version && $(CARGO) clippy --version; } >/dev/null 2>&1 \
	  || { echo "rustfmt or clippy is missing: rustup component add rustfmt clippy" >&2; exit 1; }
