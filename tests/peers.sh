#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the missing foreign programs that the suite runs, on Debian and its derivatives. Without
# root it prints the command that installs them, and fails.
set -eu

# Each line: a command, the package that contains it, and other packages that it needs.
peers='
aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
bsdtar          libarchive-tools
bzip2           bzip2
chattr          e2fsprogs
curl            curl
dash            dash
debootstrap     debootstrap
docker-registry docker-registry
getfattr        attr
go              golang-go
jq              jq
mandoc          mandoc
musl-gcc        musl-tools
nginx           nginx
openssl         openssl
pigz            pigz
setcap          libcap2-bin
skopeo          skopeo
squid           squid
strace          strace
time            time
umoci           umoci
xz              xz-utils
zstd            zstd
'

missing=$(
	echo "$peers" | while read -r command package; do
		test -z "$command" || PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || printf '%s ' "$package"
	done
)
test -n "$missing" || exit 0

if test "$(id -u)" != 0; then
	echo "missing: ${missing% }; as root: apt-get install --no-install-recommends ${missing% }" >&2
	exit 1
fi

echo "installing: ${missing% }" >&2
export DEBIAN_FRONTEND=noninteractive
# The tests start their own servers, so none of them may run as a service.
policy=/usr/sbin/policy-rc.d
if ! test -e "$policy"; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
apt-get update -qq
# shellcheck disable=SC2086 # $missing has to be split into words
apt-get install -y -qq -o DPkg::Lock::Timeout=600 --no-install-recommends $missing >/dev/null
