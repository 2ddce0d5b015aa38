#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks that the code compiles with the lowest Rust that Cargo.toml promises, and for arm64. Builds
# and tests static binaries for musl. A compiler or target that is not available here is reported,
# and is not a failure.
set -eu
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
musl=$(uname -m)-unknown-linux-musl
arm=aarch64-unknown-linux-gnu

lowest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if rustup run "$lowest" cargo --version >/dev/null 2>&1 || rustup toolchain install "$lowest" --profile minimal; then
	rustup run "$lowest" cargo check --locked --workspace --bins --target-dir "${CARGO_TARGET_DIR:-target}/lowest"
else
	echo "NOT CHECKED: Rust $lowest is missing" >&2
fi

# have TARGET COMPILER: whether Rust and C code can be compiled for the target (some dependencies
# have C code).
have() {
	if ! command -v "$2" >/dev/null; then
		echo "NOT CHECKED: $1: $2 is missing" >&2
	elif ! test -d "$(rustc --print sysroot)/lib/rustlib/$1" && ! rustup target add "$1"; then
		echo "NOT CHECKED: $1: this Rust toolchain has no standard library for it" >&2
	else
		return 0
	fi
	return 1
}

if have $arm aarch64-linux-gnu-gcc; then
	$CARGO check --locked --workspace --target $arm
fi
if have "$musl" musl-gcc; then
	$CARGO build --locked --workspace --bins --target "$musl"
	bin=$(realpath "${CARGO_TARGET_DIR:-target}/$musl/debug")
	if ldd "$bin/verify-digest" | grep '=>'; then
		echo "$bin/verify-digest is not static" >&2
		exit 1
	fi
	REGUTILS_BIN=$bin $CARGO test --locked --workspace --test suite tools::contract::
fi
