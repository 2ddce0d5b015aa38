#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes an image of this machine's own files, takes it from one layout to another and unpacks it, all in a
# pipeline, and compares the outcome with the files it was made of. Then it breaks a byte and mends it.
# Needs the tools on PATH and what every Debian has; no network, no root. `make demo` runs it.
set -eu
umask 022
export LC_ALL=C

work=$(mktemp -d "${TMPDIR:-/tmp}/regutils-demo.XXXXXX")
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work"

say() { printf '%s\n' "$*"; }
run() { say "\$ $1"; eval "$1" 2>&1; }
fail() { say "demo: $*" >&2; exit 1; }
size() { wc -c <"$1" | tr -d ' '; }

# --- The files: some tens of megabytes of this machine's, as many as this user may read.
mkdir source
(cd / && find etc usr/bin usr/sbin usr/share/doc/[a-g]* -xdev \
	-type d ! \( -readable -executable \) -prune -o \
	\( -type d -o -type l -o -type f -readable -size -400k \) -print0 |
	tar --create --null --no-recursion --files-from=- --file=-) |
	tar --extract --preserve-permissions --directory=source --file=-

# --- The layers: two, and a third that removes a file, changes one and adds one.
# Each has the directories above its files, whose times it sets.
base='--format=posix --directory=source --sort=name'
# shellcheck disable=SC2086 # words are wanted
tar $base --create --file=layer1.tar --exclude=usr/share etc usr
# shellcheck disable=SC2086
tar $base --create --file=layer2.tar --no-recursion usr usr/share --recursion usr/share/doc

mkdir -p changes/etc
: >changes/etc/.wh.hostname
rm -f source/etc/hostname
echo 'made by the demo' >source/etc/demo
echo 'changed by the demo' >source/etc/motd
tar --format=posix --directory=changes --create --file=layer3.tar etc/.wh.hostname
# shellcheck disable=SC2086
tar $base --append --file=layer3.tar --no-recursion etc etc/demo etc/motd

# --- The image: a layout, a config and a manifest, by hand.
mkdir -p image/blobs/sha256
# Puts a file into the layout and prints its descriptor.
put() { # FILE MEDIATYPE
	digest=$(verify-digest --print <"$1")
	printf '{"mediaType":"%s","digest":"%s","size":%d}' "$2" "$digest" "$(size "$1")"
	mv "$1" "image/blobs/sha256/${digest#sha256:}"
}
diff_ids= layers= comma=
for layer in layer1 layer2 layer3; do
	diff_ids=$diff_ids$comma\"$(verify-digest --print <$layer.tar)\"
	gzip -1 $layer.tar
	layers=$layers$comma$(put $layer.tar.gz "$(detect-mediatype $layer.tar.gz)")
	comma=,
done
case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) architecture=$(uname -m) ;;
esac
printf '{"architecture":"%s","os":"linux","rootfs":{"type":"layers","diff_ids":[%s]}}' \
	"$architecture" "$diff_ids" >config
config=$(put config "$(detect-mediatype config)")
printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' \
	application/vnd.oci.image.manifest.v1+json "$config" "$layers" >manifest
manifest=$(put manifest "$(detect-mediatype manifest)")
printf '{"schemaVersion":2,"manifests":[%s]}' \
	"${manifest%?},\"annotations\":{\"org.opencontainers.image.ref.name\":\"demo\"}}" >image/index.json
printf '{"imageLayoutVersion":"1.0.0"}' >image/oci-layout

say "An image of $(find source -type f | wc -l) of this machine's files," \
	"$(du -sm source | cut -f1) MiB, $(du -sm image | cut -f1) MiB in three layers."
say
say 'Copied to another layout and unpacked on the way, every byte verified:'
# shellcheck disable=SC2016
run 'fetch-manifest oci:image:demo --into oci:copy |
    list-blobs | fetch-blob oci:image --into oci:copy | unpack-layer --from oci:copy rootfs >lines'
say
say "The copy is whole, and so is what is printed: a line for each blob."
run 'fetch-manifest oci:copy:demo | list-blobs | verify-digest --from oci:copy | cut -c 1-100'
say

# --- What came out is what went in: contents, then everything else that a file has.
diff --recursive --no-dereference source rootfs >differences ||
	fail "contents differ: $(head -n 1 differences)"
for tree in source rootfs; do
	find $tree -mindepth 1 \( -type d -printf '%P %y %m %U:%G %T@\n' \
		-o -printf '%P %y %m %U:%G %T@ %s %n %l\n' \) | sort >$tree.list
done
cmp source.list rootfs.list || fail 'modes, owners, times or links differ'
test ! -e rootfs/etc/hostname || fail 'a removed file is there'
say "The $(wc -l <rootfs.list) files and directories are the same," \
	'with their modes, owners, times and links.'
say

# --- A byte that is wrong does not go unseen.
blob=$(fetch-manifest oci:copy:demo | list-blobs --layers |
	sed -n '2s/.*"sha256:\([0-9a-f]*\)".*/\1/p')
printf x | dd of="copy/blobs/sha256/$blob" bs=1 seek=1000 conv=notrunc status=none
say 'One byte of the copy is now wrong:'
status=0
run 'fetch-manifest oci:copy:demo | list-blobs |
    verify-digest --from oci:copy >good' || status=$?
test "$status" = 1 || fail "status $status, wanted 1"
test "$(wc -l <good)" = 2 || fail 'a wrong blob was printed as a right one'
say "Status $status, and only the $(wc -l <good) blobs before it were passed on."
say
say 'It can be mended:'
run 'fetch-manifest oci:copy:demo | list-blobs |
    fetch-blob oci:image --into oci:copy --recheck | verify-digest --from oci:copy >good'
test "$(wc -l <good)" = 4 || fail 'the copy is not whole'
say 'All four blobs are right again.'
