#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the missing foreign programs that the suite runs, on Debian and its derivatives. Without
# root it prints the command that installs Debian's packages, and fails if one is missing.
#
# Programs written in Go that Debian lacks, or has only in an older version, are built from the Go
# module proxy into a cache directory of the user, which tests/src/peers.rs knows.
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
dpkg-shlibdeps  dpkg-dev
fish            fish
getfattr        attr
go              golang-go
jq              jq
lintian         lintian
mandoc          mandoc
musl-gcc        musl-tools
nginx           nginx
openssl         openssl
pigz            pigz
script          bsdutils
setcap          libcap2-bin
skopeo          skopeo
squid           squid
strace          strace
time            time
tmux            tmux
umoci           umoci
xz              xz-utils
zsh             zsh
zstd            zstd
'

missing=$(
	echo "$peers" | while read -r command package; do
		test -z "$command" || PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || printf '%s ' "$package"
	done
)

# The function is a subshell, so that its trap ends with it.
install_packages() (
	if test "$(id -u)" != 0; then
		echo "missing: ${missing% }; as root: apt-get install --no-install-recommends ${missing% }" >&2
		exit 1
	fi
	echo "installing: ${missing% }" >&2
	export DEBIAN_FRONTEND=noninteractive
	# The tests start their own servers, so no installed server may run as a service.
	policy=/usr/sbin/policy-rc.d
	if ! test -e "$policy"; then
		trap 'rm -f "$policy"' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	apt-get update -qq
	# shellcheck disable=SC2086 # $missing has to be split into words
	apt-get install -y -qq -o DPkg::Lock::Timeout=600 --no-install-recommends $missing >/dev/null
)
test -z "$missing" || install_packages

# Each line: a command, the Go package that contains it, and its version.
modules='
crane    github.com/google/go-containerregistry/cmd/crane v0.22.1
olareg   github.com/olareg/olareg/cmd/olareg v0.1.2
oras     oras.land/oras/cmd/oras v1.3.6
regctl   github.com/regclient/regclient/cmd/regctl v0.11.7
registry github.com/distribution/distribution/v3/cmd/registry v3.1.2
umoci    github.com/opencontainers/umoci/cmd/umoci v0.6.0
'
cache=${XDG_CACHE_HOME:-$HOME/.cache}/regutils-peers
go=1.26.8

missing=$(
	echo "$modules" | while read -r command package version; do
		test -z "$command" || test -e "$cache/$command-$version" || echo "$command $package $version"
	done
)
test -n "$missing" || exit 0

# From version 1.21 on, the go command fetches the version that a module requires. Debian 12 has an
# older go command. In this case a Go toolchain is unpacked from the module proxy, and removed after
# the builds.
fetch_go() {
	machine=$(dpkg --print-architecture)
	case $machine in
	amd64) sum=30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7 ;;
	arm64) sum=02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99 ;;
	*) echo "needs go 1.21 or later: none is known for $machine" >&2 && exit 1 ;;
	esac
	proxy=${GOPROXY:-https://proxy.golang.org}
	name=v0.0.1-go$go.linux-$machine
	curl -fsSL -o "$work/go.zip" "${proxy%%[,|]*}/golang.org/toolchain/@v/$name.zip"
	echo "$sum  $work/go.zip" | sha256sum --check --quiet
	bsdtar -xf "$work/go.zip" -C "$work"
	tree=$work/golang.org/toolchain@$name
	# A module's archive has no modes.
	find "$tree/bin" "$tree/pkg/tool" -type f -exec chmod 755 {} +
	PATH=$tree/bin:$PATH
}
# Builds MODULE's command from its archive at the module proxy.
build_from_archive() (
	proxy=${GOPROXY:-https://proxy.golang.org}
	curl -fsSL -o "$work/module.zip" "${proxy%%[,|]*}/$1/@v/$3.zip"
	bsdtar -xf "$work/module.zip" -C "$work"
	cd "$work/$1@$3"
	go build -p 2 -mod=mod -ldflags="-s -X main.version=${3#v}" -o "$work/$2" "./cmd/$2"
)
mkdir -p "$cache"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
case $(go env GOVERSION 2>/dev/null) in
'' | go1.?[!0-9]* | go1.1[0-9]* | go1.20*) fetch_go ;;
esac
# Two compilations at a time: each may take a GB of memory. No C compiler is used, so the programs
# are static.
export GOTOOLCHAIN=auto CGO_ENABLED=0 GOBIN="$work"
echo "$missing" | while read -r command package version; do
	echo "building: $package@$version" >&2
	case $command in
	# "go install" refuses a module that replaces another one.
	umoci) build_from_archive "${package%/cmd/*}" "$command" "$version" </dev/null ;;
	# Some proxies have this version, but not the list of versions, which "go install" reads.
	olareg)
		printf 'module peers\nrequire %s %s\n' "${package%/cmd/*}" "$version" >"$work/go.mod"
		(cd "$work" && go build -mod=mod -p 2 -ldflags=-s -o "$command" "$package") </dev/null
		;;
	*) go install -p 2 -ldflags=-s "$package@$version" </dev/null ;;
	esac
	mv "$work/$command" "$cache/$command-$version"
	# The tests use this name; a newer version replaces it.
	ln -sfn "$command-$version" "$cache/$command"
done
