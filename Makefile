# SPDX-License-Identifier: Apache-2.0

PREFIX = /usr/local
DESTDIR =
# Tests wait more than they compute, so two run for each processor.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
CARGO = cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)
TOOLS = $(notdir $(wildcard tools/*))

# "dist" is a smaller build for packages, which takes longer.
PROFILE = release
BUILT = $(TARGET)/$(PROFILE)
ZSH = share/zsh/site-functions

# The commit that "-V" shows, if this is a git checkout; a packager may set it. The targets for
# development do not use it: if it changes, all our code is compiled again.
REGUTILS_COMMIT ?= $(if $(wildcard .git),$(shell git rev-parse --short=7 HEAD 2>/dev/null))
COMMIT = $(if $(REGUTILS_COMMIT),REGUTILS_COMMIT='$(REGUTILS_COMMIT)')

all:
	$(COMMIT) $(CARGO) build --locked --profile $(PROFILE) --workspace --bins
	$(BUILT)/completions $(BUILT) $(BUILT)/shells $(TOOLS)

# The installed files, below PREFIX.
PAGES = $(notdir $(wildcard man/*.[0-9]))
FILES = $(TOOLS:%=bin/%) \
	$(foreach page,$(PAGES),share/man/man$(subst .,,$(suffix $(page)))/$(page)) \
	$(TOOLS:%=share/bash-completion/completions/%) $(TOOLS:%=$(ZSH)/_%) \
	$(TOOLS:%=share/fish/vendor_completions.d/%.fish) share/regutils/recipes.sh

# Builds nothing, so that root does not run compilers.
install:
	@for tool in $(TOOLS); do \
		test -x "$(BUILT)/$$tool" -a -e "$(BUILT)/shells/zsh/_$$tool" || \
			{ echo "$$tool is not built: run \"make\" first, as an ordinary user" >&2; exit 1; }; \
	done
	@for file in $(FILES); do \
		name=$${file##*/} mode=644; \
		case $$file in \
		bin/*) from=$(BUILT)/$$name mode=755 ;; \
		share/man/*) from=man/$$name ;; \
		share/regutils/*) from=$$file ;; \
		share/bash-*) from=$(BUILT)/shells/bash/$$name ;; \
		*.fish) from=$(BUILT)/shells/fish/$$name ;; \
		*) from=$(BUILT)/shells/zsh/$$name ;; \
		esac; \
		install -D -m $$mode "$$from" "$(DESTDIR)$(PREFIX)/$$file" || exit; \
	done

# Directories are not removed, because other packages may use them.
uninstall:
	@for file in $(FILES); do rm -f "$(DESTDIR)$(PREFIX)/$$file" || exit; done

# A Debian package for this machine, in $(TARGET)/packages.
deb: all
	MAKE='$(MAKE)' packaging/deb.sh $(BUILT) $(TARGET)/packages

# Archives of static programs, with their checksums, in $(TARGET)/packages.
dist:
	CARGO='$(CARGO)' PROFILE='$(PROFILE)' MAKE='$(MAKE)' packaging/dist.sh $(TARGET) $(TARGET)/packages

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
	$(MAKE) all PROFILE=release REGUTILS_COMMIT=
	REGUTILS_BIN=$(abspath $(TARGET))/release $(CARGO) test --locked --workspace --no-fail-fast

# Installs the peer programs that the suite needs.
peers:
	tests/peers.sh

demo:
	$(MAKE) all REGUTILS_COMMIT=
	PATH="$(abspath $(BUILT)):$$PATH" tests/demo.sh

bench:
	$(MAKE) all REGUTILS_COMMIT=
	PATH="$(abspath $(BUILT)):$$PATH" tests/bench/run

# Known vulnerabilities, licences and sources of the dependencies. Needs the RustSec advisory
# database from the network, and is therefore not part of "check".
audit:
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --locked check

clean:
	$(CARGO) clean

.PHONY: all install uninstall deb dist test check peers demo bench audit clean
