#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# deb.sh BUILT DIR: makes a Debian package in DIR. The package has the tools in BUILT, and all other
# files that `make install` installs. $DEBFULLNAME and $DEBEMAIL name the maintainer.
set -eu
built=$(realpath "$1")
mkdir -p "$2"
dir=$(realpath "$2")
cd "$(dirname "$0")/.."
MAKE=${MAKE:-make}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
repository=$(sed -n 's/^repository = "\(.*\)"/\1/p' Cargo.toml)
machine=$(dpkg --print-architecture)
# The time of all files: the same source gives the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH
maintainer="${DEBFULLNAME:-regutils} <${DEBEMAIL:-regutils@users.noreply.github.com}>"
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
doc=$root/usr/share/doc/regutils
mkdir -p "$root/DEBIAN" "$doc" "$work/debian"
$MAKE --no-print-directory install BUILT="$built" DESTDIR="$root" PREFIX=/usr ZSH=share/zsh/vendor-completions
find "$root/usr/share/man" -type f -exec gzip -9n {} +

cat >"$doc/copyright" <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: regutils
Source: $repository

Files: *
Copyright: 2026 The regutils authors
License: Apache-2.0
 On Debian systems, the text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
END
{
	echo "regutils ($version) unstable; urgency=medium"
	echo
	echo "  * See CHANGELOG.md in $repository"
	echo
	echo " -- $maintainer  $(date -uRd "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.gz"

# dpkg-shlibdeps needs the control file of a source package.
printf 'Source: regutils\n\nPackage: regutils\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O root/usr/bin/* | sed -n 's/^shlibs:Depends=//p')
cat >"$root/DEBIAN/control" <<END
Package: regutils
Version: $version
Architecture: $machine
Maintainer: $maintainer
Section: utils
Priority: optional
Depends: $depends
Recommends: ca-certificates
Suggests: jq, openssl
Installed-Size: $(du -ks "$root/usr" | cut -f 1)
Homepage: $repository
Description: small programs for container registries and image layouts
 regutils reads and writes container registries and OCI image layouts. Each
 program does one job: it fetches, verifies, unpacks, packs or pushes the
 manifests and layers of container images. They check digests and sizes, and
 work in pipes, without a daemon.
END
(cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum) >"$root/DEBIAN/md5sums"
dpkg-deb --root-owner-group --build "$root" "$dir/regutils_${version}_$machine.deb" >/dev/null
echo "$dir/regutils_${version}_$machine.deb"
