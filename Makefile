# SPDX-License-Identifier: Apache-2.0

PREFIX = /usr/local
DESTDIR =
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

# All that must hold. The suite runs the tools as they are shipped, but for link-time optimisation.
check: peers
	rustfmt --version >/dev/null 2>&1 || rustup component add rustfmt
	$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --profile fast -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --profile fast
	for page in man/*.[0-9]; do mandoc -T lint -W warning "$$page" || exit; done
	$(CARGO) build --locked --workspace --bins --profile fast
	REGUTILS_BIN=$(abspath $(TARGET))/fast $(CARGO) test --locked --workspace --profile fast --no-fail-fast

# The programs of others that the suite needs.
peers:
	tests/peers.sh

demo: all
	PATH="$(abspath $(TARGET))/release:$$PATH" tests/demo.sh

bench: all
	PATH="$(abspath $(TARGET))/release:$$PATH" tests/bench/run

clean:
	$(CARGO) clean

.PHONY: all install check peers demo bench clean
