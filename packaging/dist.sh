#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# dist.sh TARGET DIR: builds the tools as static programs for several types of machine. For each
# type, it makes an archive in DIR, with pages and completions. It also writes SHA256SUMS. TARGET is
# cargo's directory. The same commit and compiler give the same bytes.
#
# $MACHINES has the types, first that of this machine. Others need Debian's cross compiler.
set -eu
mkdir -p "$1" "$2"
target=$(realpath "$1")
dir=$(realpath "$2")
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
MAKE=${MAKE:-make}
PROFILE=${PROFILE:-release}
here=$(uname -m)
case $here in
x86_64) other=aarch64 ;;
*) other=x86_64 ;;
esac
MACHINES=${MACHINES:-$here $other}
# needs COMMAND PACKAGE: fails before anything is built if a compiler is missing.
needs() {
	command -v "$1" >/dev/null || {
		echo "dist: $1 is missing: install the package $2, or name other machines in \$MACHINES" >&2
		exit 1
	}
}
for machine in $MACHINES; do
	if test "$machine" = "$here"; then
		needs musl-gcc musl-tools
	else
		needs "$machine-linux-gnu-gcc" "gcc-$(echo "$machine" | tr _ -)-linux-gnu"
	fi
	triple=$machine-unknown-linux-musl
	test -d "$(rustc --print sysroot)/lib/rustlib/$triple" || rustup target add "$triple" || {
		echo "dist: install the Rust target $triple" >&2
		exit 1
	}
done
if test -n "$(git status --porcelain --untracked-files=no 2>/dev/null)"; then
	echo "dist: commit first: the working tree differs from the commit that -V would show" >&2
	exit 1
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
REGUTILS_COMMIT=${REGUTILS_COMMIT:-$(git rev-parse --short=7 HEAD)}
export SOURCE_DATE_EPOCH REGUTILS_COMMIT
# The programs must not contain directory names of this machine.
RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/regutils --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
CFLAGS="${CFLAGS:-} -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo"
export RUSTFLAGS CFLAGS
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for machine in $MACHINES; do
	triple=$machine-unknown-linux-musl
	compiler=musl-gcc
	if test "$machine" != "$here"; then
		# The C code of our dependencies uses only functions that both C libraries have.
		compiler=$machine-linux-gnu-gcc
		export "CARGO_TARGET_$(echo "$triple" | tr 'a-z-' 'A-Z_')_LINKER=$compiler"
	fi
	export "CC_$(echo "$triple" | tr - _)=$compiler"
	$CARGO build --locked --profile "$PROFILE" --target "$triple" --workspace --bins --target-dir "$target/dist"
	built=$target/dist/$triple/$PROFILE
	# The completions are the same for all machines. Programs of this machine write them.
	if test "$machine" != "$here"; then
		rm -rf "$built/shells"
		cp -r "$target/dist/$here-unknown-linux-musl/$PROFILE/shells" "$built"
	else
		"$built/completions" "$built" "$built/shells" $(ls tools)
	fi
	name=regutils-$version-$machine-linux
	$MAKE --no-print-directory install BUILT="$built" DESTDIR="$work/$name" PREFIX=
	cp README.md CHANGELOG.md LICENSE "$work/$name"
	tar --create --directory "$work" --sort=name --owner=0 --group=0 --numeric-owner --format=posix \
		--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
		--mtime="@$SOURCE_DATE_EPOCH" "$name" | gzip -9n >"$dir/$name.tar.gz"
done
(cd "$dir" && sha256sum regutils-"$version"-*-linux.tar.gz >SHA256SUMS && cat SHA256SUMS)
