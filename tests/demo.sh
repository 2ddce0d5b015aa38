#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds an image from files of this machine. Copies it to another layout and unpacks it in one
# pipeline, and compares the result with the original files. Then it damages a byte and repairs it.
# Needs the tools on the PATH and programs that every Debian system has, but neither a network nor
# root. `make demo` runs it.
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

# --- The source: some tens of megabytes of this machine's files that the user may read.
mkdir source
(cd / && find etc usr/bin usr/sbin usr/share/doc/[a-g]* -xdev \
	-type d ! \( -readable -executable \) -prune -o \
	\( -type d -o -type l -o -type f -readable -size -400k \) -print0 |
	tar --create --null --no-recursion --files-from=- --file=-) |
	tar --extract --preserve-permissions --directory=source --file=-

# --- Three states of these files: without documentation; with it; with one file removed, one
# changed and one added.
cp -a source before
cp -a before base
rm -rf base/usr/share
rm -f source/etc/hostname
echo 'made by the demo' >source/etc/demo
echo 'changed by the demo' >source/etc/motd

# Root's files keep their owners. Those of an ordinary user belong to root in the image.
owner=
test "$(id -u)" = 0 || owner='--owner 0:0 '
say 'An image with one layer for the changes of each state:'
run "pack-layer ${owner}base --into oci:image >1.line"
run "pack-layer ${owner}before --base base --into oci:image >2.line"
run "pack-layer ${owner}source --base before --into oci:image >3.line"
run 'cat ?.line | build-config --entrypoint /bin/sh --into oci:image >config.line'
run 'cat config.line ?.line | build-manifest --from oci:image >manifest &&
    put-manifest oci:image:demo manifest >line'
say
say "It has $(find source -type f | wc -l) of this machine's files," \
	"$(du -sm source | cut -f1) MiB, $(du -sm image | cut -f1) MiB in three layers."
say
say 'Copied to another layout and unpacked at the same time, every byte verified:'
# shellcheck disable=SC2016
run 'fetch-manifest oci:image:demo --into oci:copy |
    list-blobs | fetch-blob oci:image --into oci:copy | unpack-layer --from oci:copy rootfs >lines'
say
say "The copy is complete. Each verified blob is printed as a line:"
run 'fetch-manifest oci:copy:demo | list-blobs | verify-digest --from oci:copy | cut -c 1-100'
say

# --- The result equals the source: contents first, then all metadata.
diff --recursive --no-dereference source rootfs >differences ||
	fail "contents differ: $(head -n 1 differences)"
for tree in source rootfs; do
	find $tree -mindepth 1 \( -type d -printf '%P %y %m %U:%G %Ts\n' \
		-o -printf '%P %y %m %U:%G %Ts %s %n %l\n' \) | sort >$tree.list
done
cmp source.list rootfs.list || fail 'modes, owners, times or links differ'
test ! -e rootfs/etc/hostname || fail 'a removed file is there'
say "The $(wc -l <rootfs.list) files and directories are the same," \
	'with their modes, owners, times and links.'
say

# --- A wrong byte is detected.
blob=$(fetch-manifest oci:copy:demo | list-blobs --layers |
	sed -n '2s/.*"sha256:\([0-9a-f]*\)".*/\1/p')
byte=x
test "$(dd if="copy/blobs/sha256/$blob" bs=1 skip=1000 count=1 status=none | od -An -c | tr -d ' ')" != x || byte=y
printf $byte | dd of="copy/blobs/sha256/$blob" bs=1 seek=1000 conv=notrunc status=none
say 'Now one byte of the copy is changed:'
status=0
run 'fetch-manifest oci:copy:demo | list-blobs |
    verify-digest --from oci:copy >good' || status=$?
test "$status" = 1 || fail "status $status, wanted 1"
test "$(wc -l <good)" = 2 || fail 'the line of a damaged blob was printed'
say "Status $status: only the $(wc -l <good) blobs before the damaged one were printed."
say
say 'The blob can be fetched again:'
run 'fetch-manifest oci:copy:demo | list-blobs |
    fetch-blob oci:image --into oci:copy --recheck | verify-digest --from oci:copy >good'
test "$(wc -l <good)" = 4 || fail 'the copy is not complete'
say 'All four blobs are intact again.'
