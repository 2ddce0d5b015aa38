#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Draws the README's picture: the flow of an image through the tools, and below it a terminal
# session, which script(1) records. Needs the tools and docker-registry on the PATH.
# Usage: packaging/flow.sh >man/flow.svg
set -eu
export LC_ALL=C SOURCE_DATE_EPOCH=1767225600
columns=98

work=$(mktemp -d "${TMPDIR:-/tmp}/regutils-flow.XXXXXX")
registry=
trap 'test -z "$registry" || kill "$registry"; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work"

# --- An image of two layers in a registry.
cat >registry.yml <<END
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "127.0.0.1:5000"}
END
docker-registry serve registry.yml >registry.log 2>&1 &
registry=$!
mkdir -p base/bin base/etc site/srv
cp /bin/sh /bin/cat /bin/ls base/bin/
cp /etc/os-release base/etc/
echo 'hello, world' >site/srv/index.html
{
	pack-layer --owner 0:0 base --into oci:source >1.line
	pack-layer --owner 0:0 --no-root site --into oci:source >2.line
	cat ?.line | build-config --cmd /bin/sh --into oci:source >config.line
	cat config.line ?.line | build-manifest --from oci:source >app.json
	list-blobs app.json | push-blob localhost:5000/app --from oci:source
	put-manifest localhost:5000/app:1 app.json
} >lines

# --- The session.
cat >session.sh <<'END'
run() { printf '$ %s\n' "$1"; eval "$1"; }
run 'fetch-manifest localhost:5000/app:1 --into oci:app | list-blobs | tee lines'
run 'fetch-blob localhost:5000/app --early --into oci:app <lines |
    unpack-layer --from oci:app rootfs >layers'
run 'cat rootfs/srv/index.html'
run 'fetch-manifest oci:app | list-blobs | verify-digest --from oci:app >good && echo "all verified"'
END
script --quiet --return --command "stty cols $columns; sh session.sh" typescript </dev/null >screen

# --- The picture. Long lines are folded, as on a terminal. Progress bars are removed: at their end,
# they clear their line.
tr -d '\r' <screen | sed "s/.*$(printf '\033')\[2K//" | fold -w $columns | awk -v columns=$columns '
function escaped(text) {
	gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text)
	return text
}
function box(x, y, width, text, colour) {
	printf "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"34\" rx=\"5\" fill=\"%s\"/>\n", x, y, width, colour
	printf "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x + width / 2, y + 22, text
}
function arrow(x1, y1, x2, y2) {
	printf "<path d=\"M%d %dL%d %d\" stroke=\"#8a94a6\" stroke-width=\"2\" marker-end=\"url(#a)\"/>\n", x1, y1, x2, y2
}
function label(x, y, text) {
	printf "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"#9aa5b8\" font-size=\"12\">%s</text>\n", x, y, text
}
{ line[NR] = $0 }
END {
	width = columns * 8.43 + 36; top = 196; height = top + NR * 18 + 22
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" ", width, height
	print "font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"14\" fill=\"#e6e6e6\">"
	print "<title>An image flows from a registry through the tools into a directory</title>"
	print "<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"5\" markerHeight=\"5\" orient=\"auto\">"
	print "<path d=\"M0 0L8 4L0 8z\" fill=\"#8a94a6\"/></marker></defs>"
	printf "<rect width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#1b1f27\"/>\n", width, height
	box(20, 24, 160, "fetch-manifest", "#2f4f7f"); box(240, 24, 140, "list-blobs", "#2f4f7f")
	box(440, 24, 140, "fetch-blob", "#2f4f7f"); box(640, 24, 160, "unpack-layer", "#2f4f7f")
	arrow(180, 41, 238, 41); arrow(380, 41, 438, 41); arrow(580, 41, 638, 41)
	label(209, 31, "JSON"); label(409, 31, "lines"); label(609, 31, "lines")
	box(20, 124, 160, "registry", "#5a4630"); box(440, 124, 140, "oci:app", "#2f5f46")
	box(640, 124, 160, "rootfs", "#2f5f46")
	arrow(100, 124, 100, 60); arrow(180, 141, 438, 141); arrow(510, 60, 510, 122); arrow(580, 141, 638, 141)
	arrow(720, 60, 720, 122)
	label(309, 133, "bytes, in parallel"); label(609, 133, "bytes"); label(510, 176, "verified, resumable")
	label(720, 176, "appears when whole"); label(100, 176, "or another layout")
	for (n = 1; n <= NR; n++)
		printf "<text x=\"18\" y=\"%d\" xml:space=\"preserve\"%s>%s</text>\n", top + n * 18,
			line[n] ~ /^([$] |    )/ ? " fill=\"#8fd18f\"" : "", escaped(line[n])
	print "</svg>"
}'
