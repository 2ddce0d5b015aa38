# SPDX-License-Identifier: Apache-2.0

PREFIX = /usr/local
DESTDIR =
# Tests wait more than they compute, so two run for each processor.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
CARGO = cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)
TOOLS = $(notdir $(wildcard tools/*))

all:
	$(CARGO) build --locked --release --workspace --bins

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install $(addprefix $(TARGET)/release/,$(TOOLS)) $(DESTDIR)$(PREFIX)/bin
	for page in man/*.[0-9]; do \
		section=$(DESTDIR)$(PREFIX)/share/man/man$${page##*.} && \
		install -d "$$section" && install -m 644 "$$page" "$$section" || exit; \
	done

# All tests that need neither root nor peer programs. They take about a minute. `make test T=NAME`
# instead runs all tests with NAME in their names, and builds only the tools that these tests run.
ELSEWHERE = ::with_peers:: ::as_root:: ::at_length::
test:
ifdef T
	$(CARGO) test --locked --test suite $(T)
else
	$(CARGO) build --locked --workspace --bins
	REGUTILS_BIN=$(abspath $(TARGET))/debug $(CARGO) test --locked --workspace --no-fail-fast -- \
		$(addprefix --skip ,$(ELSEWHERE))
	@echo "not run: $$($(CARGO) test --locked --workspace --quiet -- --list $(ELSEWHERE) 2>/dev/null | \
		grep -c ': test$$') tests that need root or peer programs, or take long: \"make check\" runs them"
endif

# All checks. The suite runs release builds of the tools, as they are shipped.
check: peers
	rustfmt --version >/dev/null 2>&1 || rustup component add rustfmt
	$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps
	for page in man/*.[0-9]; do mandoc -T lint -W warning "$$page" || exit; done
	CARGO='$(CARGO)' tests/cross.sh
	$(CARGO) build --locked --release --workspace --bins
	REGUTILS_BIN=$(abspath $(TARGET))/release $(CARGO) test --locked --workspace --no-fail-fast

# Installs the peer programs that the suite needs.
peers:
	tests/peers.sh

demo: all
	PATH="$(abspath $(TARGET))/release:$$PATH" tests/demo.sh

bench: all
	PATH="$(abspath $(TARGET))/release:$$PATH" tests/bench/run

# Known vulnerabilities, licences and sources of the dependencies. Needs the RustSec advisory database from the
# network, and is therefore not part of "check".
audit:
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --locked check

clean:
	$(CARGO) clean

.PHONY: all install test check peers demo bench audit clean
