# The front door. `make help` lists the targets.

CARGO ?= cargo
GOLDSMITH = target/release/goldsmith
AGENT = target/guest/oauth-agent

.DEFAULT_GOAL := help
.PHONY: help image demo test test-desktop escape soak kill fuzz packages truth bench lint tool agent lock doc clean

help: ## Lists the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

image: tool agent ## Builds images/desktop from recipes/desktop.yaml
	@$(GOLDSMITH) build recipes/desktop.yaml

demo: ## Boots the desktop image (built if needed) and prints the address of its web page
	@scripts/need build boot
	@test -e images/desktop/manifest.json || $(MAKE) --no-print-directory image
	@$(GOLDSMITH) launch images/desktop

test: agent ## Runs the whole test suite
	@scripts/need build boot test
	@$(CARGO) test --workspace

truth: agent ## Boots what the network model predicts, row by row, and writes docs/truth-table.md
	@scripts/need build boot test kernel
	@$(CARGO) test --quiet --test truth -- --ignored --nocapture

bench: tool agent ## Compares speed with mmdebstrap, mke2fs, dd and sha256sum in one run; measures serve
	@scripts/need build boot bench
	@benches/run
	@benches/serve

test-desktop: agent ## Boots the desktop only: web page in a browser, VNC, health
	@scripts/need build boot test
	@$(CARGO) test --test desktop

escape: agent ## Tries to get out of builds, here and in guests under the kernels of Debian 12 and 13
	@scripts/need build boot test
	@$(CARGO) build --quiet --examples
	@$(CARGO) test --test escape -- --include-ignored --nocapture

soak: agent ## Starts, stops and kills VMs at random for ten minutes (GOLDSMITH_SOAK_SECONDS) and looks for what is left
	@scripts/need build boot test
	@$(CARGO) test --quiet --test soak -- --ignored --nocapture

kill: agent ## Kills builds, launches, servers, QEMU and dnsmasq, each at 200 random points (GOLDSMITH_KILLS), and looks for what is left
	@scripts/need build boot test
	@$(CARGO) test --quiet --test kill -- --ignored --nocapture --test-threads 1

packages: agent ## Builds 300 packages of Debian 12 and 13 beside apt and mmdebstrap, boots services, writes docs/packages.md; resumable
	@scripts/need build boot test
	@$(CARGO) build --quiet --example install
	@$(CARGO) test --quiet --test packages -- --ignored --nocapture

fuzz: ## Feeds every parser and whole images with hostile input for ten minutes in all (FUZZ_SECONDS)
	@scripts/need build
	@fuzz/run

lint: ## Checks formatting, lints, shell scripts, and the licences and advisories of dependencies
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets -- -D warnings
	@command -v shellcheck >/dev/null || { echo "shellcheck is missing: apt-get install shellcheck"; exit 1; }
	@shellcheck scripts/* benches/* fuzz/run fuzz/seed .ci/run
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	@$(CARGO) deny --log-level error check bans licenses sources
	@if timeout 60 $(CARGO) deny fetch db >/dev/null 2>&1; then $(CARGO) deny --log-level error check advisories; \
	else echo "NOT RUN: advisories (https://github.com/rustsec/advisory-db is out of reach)"; fi

lock: tool ## Resolves the packages of all recipes anew and rewrites their locks
	@for recipe in recipes/*.yaml; do $(GOLDSMITH) lock $$recipe; done

tool:
	@scripts/need build
	@$(CARGO) build --release --quiet

agent: $(AGENT)

$(AGENT): Cargo.lock Cargo.toml agent/Cargo.toml $(shell find agent/src -name '*.rs')
	@scripts/need build
	@scripts/build-agent $@

clean: ## Deletes what was built (not the package cache: goldsmith clean)
	rm -rf images/*/ target
