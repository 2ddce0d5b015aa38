# SPDX-License-Identifier: Apache-2.0
# Shell functions for everyday jobs with the regutils. Source this file in dash, bash or zsh:
#
#     . /usr/local/share/regutils/recipes.sh
#
# Each function runs in a subshell with its own directory for temporary files. It changes no
# variable, option, trap or directory of the calling shell. Its exit status is that of the first
# step that fails; regutils(7) lists the values. If operands are missing, a function prints a line
# of usage and ends with status 2. regutils-recipes(7) describes the functions.
#
# If a function needs one image and finds an index, it uses the platform in $REGUTILS_PLATFORM, or
# by default the platform of this machine. The temporary files are below $TMPDIR, by default
# /var/tmp.
#
# drop_layer, load_docker_archive, log_in, log_out, rebase_image and squash_image need jq.
# sign_image and verify_image need openssl. add_file and the functions for archives need GNU tar.

# --- Helpers. They run in the subshell of a function. ---

# regutils_start LEAST MOST USAGE OPERAND...: checks the number of operands, and makes $work. The
# first word of USAGE is the name of the function.
regutils_start() {
    # With this, zsh splits words and keeps traps as the other shells do.
    [ -z "${ZSH_VERSION-}" ] || emulate sh
    set +efuCvx
    IFS=' 	
'
    LC_ALL=C
    export LC_ALL
    unset CDPATH
    least=$1 most=$2 usage=$3 job=${3%% *}
    shift 3
    for operand in "$@"; do
        [ -n "$operand" ] || regutils_usage || return
    done
    [ $# -ge "$least" ] && [ $# -le "$most" ] || regutils_usage || return
    work=
    trap '[ -z "$work" ] || rm -rf "$work"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/regutils.XXXXXXXXXX") || return 7
    img=oci:$work/img
}

regutils_usage() {
    echo "usage: $usage" >&2
    return 2
}

# regutils_fail STATUS TEXT...: prints a message and returns the status.
regutils_fail() {
    failed=$1
    shift
    printf '%s: %s\n' "$job" "$*" >&2
    return "$failed"
}

# regutils_need PROGRAM: returns status 7 if the program is not installed.
regutils_need() {
    command -v "$1" >/dev/null || regutils_fail 7 "needs $1, which is not installed"
}

# regutils_store REF: prints the repository or layout of a reference.
regutils_store() {
    name=${1%%@*}
    case $name in
    oci:*)
        name=${name#oci:}
        name=oci:${name%%:*}
        ;;
    *)
        case ${name##*/} in
        *:*) name=${name%:*} ;;
        esac
        ;;
    esac
    printf '%s\n' "$name"
}

# regutils_tag REF: prints the tag of a reference, or an empty line.
regutils_tag() {
    name=$(regutils_store "$1")
    name=${1#"$name"}
    name=${name%%@*}
    printf '%s\n' "${name#:}"
}

# regutils_at REF DIGEST: prints the reference of another manifest in the same store.
regutils_at() {
    printf '%s@%s\n' "$(regutils_store "$1")" "$2"
}

# regutils_field NAME: prints the string NAME of each line of JSON on standard input. Annotations
# are removed first, because they can have any name. A value with a backslash is not printed: it is
# neither a digest nor a type.
regutils_field() {
    sed -E 's/"annotations":\{("([^"\\]|\\.)*":"([^"\\]|\\.)*",?)*\}//' |
        sed -n 's/.*"'"$1"'":"\([^"\\]*\)".*/\1/p'
}

# regutils_digest FILE: prints the digest of a file.
regutils_digest() {
    verify-digest --print - <"$1" >"$work/digest" && sed 's/ .*//' "$work/digest"
}

# regutils_is_index FILE: succeeds if a manifest is an index.
regutils_is_index() {
    case $(detect-mediatype "$1") in
    *.index.*|*.list.*) ;;
    *) return 1 ;;
    esac
}

# regutils_image REF FILE: fetches the manifest of one image. From an index, this is the image for
# $REGUTILS_PLATFORM, or by default for this machine.
regutils_image() {
    if [ -n "${REGUTILS_PLATFORM-}" ]; then
        fetch-manifest -p "$REGUTILS_PLATFORM" -o "$2" "$1"
        return
    fi
    fetch-manifest -o "$2" "$1" || return
    ! regutils_is_index "$2" || fetch-manifest -p local -o "$2" "$1"
}

# regutils_open REF: fetches the manifest of one image to m.json, and its config to config.json.
# Writes the lines of the image to the file all.
regutils_open() {
    regutils_image "$1" "$work/m.json" &&
        list-blobs "$work/m.json" >"$work/all" &&
        list-blobs --config "$work/m.json" >"$work/config.line" &&
        fetch-blob "$1" -o "$work/config.json" <"$work/config.line"
}

# regutils_pipe STATUS: returns the status of a pipe. Its first program was run with regutils_first,
# and its last program ended with STATUS. If SIGPIPE ended the first program, that is no failure.
regutils_pipe() {
    read -r first <"$work/first" || first=0
    if [ "$first" -eq 0 ] || [ "$first" -gt 128 ]; then
        return "$1"
    fi
    return "$first"
}

regutils_first() {
    "$@"
    echo $? >"$work/first"
}

# regutils_store_image FROM TO: stores the image of new.json under TO. Blobs that are not in the
# temporary layout are copied from FROM. Prints the image's descriptor line.
regutils_store_image() {
    list-blobs "$work/new.json" >"$work/new" || return
    : >"$work/mine"
    : >"$work/theirs"
    while IFS= read -r line; do
        digest=$(printf '%s\n' "$line" | regutils_field digest)
        if [ -f "$work/img/blobs/${digest%%:*}/${digest#*:}" ]; then
            printf '%s\n' "$line" >>"$work/mine"
        else
            printf '%s\n' "$line" >>"$work/theirs"
        fi
    done <"$work/new"
    if [ -s "$work/theirs" ]; then
        push-blob "$2" --from "$1" <"$work/theirs" >"$work/pushed" || return
    fi
    if [ -s "$work/mine" ]; then
        push-blob "$2" --from "$img" <"$work/mine" >"$work/pushed" || return
    fi
    put-manifest "$2" "$work/new.json"
}

# regutils_rebuild LAYERS CONFIG OPTION...: builds new.json from the lines in LAYERS, with the
# settings of CONFIG. The layers and the history of CONFIG are not used.
regutils_rebuild() {
    layers=$1 settings=$2
    shift 2
    jq -c '.rootfs.diff_ids = [] | del(.history)' <"$settings" >"$work/settings" &&
        build-config --base "$work/settings" "$@" --into "$img" <"$layers" >"$work/lines" &&
        cat "$layers" >>"$work/lines" &&
        build-manifest --oci --from "$img" <"$work/lines" >"$work/new.json"
}

# --- Copying ---

# copy_image [-r] FROM TO: copies an image with all its platforms. With -r, also copies its
# referrers, such as signatures and SBOMs.
copy_image() (
    referrers=
    [ "${1-}" != -r ] || { referrers=1; shift; }
    regutils_start 2 2 "copy_image [-r] FROM TO" "$@" || exit
    if [ -n "$referrers" ]; then
        # The tag can move between the steps.
        digest=$(fetch-manifest --digest "$1") && image=$(regutils_at "$1" "$digest") &&
            fetch-manifest -o "$work/m.json" "$image" &&
            list-referrers --recursive "$image" >"$work/lines" || exit
    else
        fetch-manifest -o "$work/m.json" "$1" &&
            list-blobs --recursive --from "$1" "$work/m.json" >"$work/lines" || exit
    fi
    # An artifact or an index can be without blobs.
    if [ -s "$work/lines" ]; then
        push-blob "$2" --from "$1" <"$work/lines" >"$work/pushed" || exit
    fi
    put-manifest "$2" "$work/m.json"
)

# copy_tags [-r] FROM TO: copies all tags of a repository or layout.
copy_tags() (
    referrers=
    [ "${1-}" != -r ] || { referrers=-r; shift; }
    regutils_start 2 2 "copy_tags [-r] FROM TO" "$@" || exit
    from=$(regutils_store "$1") to=$(regutils_store "$2")
    list-tags "$from" >"$work/tags" || exit
    [ -s "$work/tags" ] || regutils_fail 3 "$from has no tags" || exit
    while IFS= read -r tag; do
        copy_image $referrers "$from:$tag" "$to:$tag" </dev/null || exit
    done <"$work/tags"
)

# tag_image REF TAG...: adds tags to an image.
tag_image() (
    regutils_start 2 100 "tag_image REF TAG..." "$@" || exit
    fetch-manifest -o "$work/m.json" "$1" || exit
    store=$(regutils_store "$1")
    shift
    for tag in "$@"; do
        put-manifest "$store:$tag" "$work/m.json" || exit
    done
)

# remove_image REF: removes a tag, or with a digest, the manifest and all its tags. In a layout,
# also removes the unused blobs that are not new.
remove_image() (
    regutils_start 1 1 "remove_image REF" "$@" || exit
    delete-manifest "$1" || exit
    case $1 in
    oci:*) sweep-layout "$(regutils_store "$1")" ;;
    esac
)

# warm_mirror REF...: reads complete images, four at a time, so that a caching registry stores them.
warm_mirror() (
    regutils_start 1 1000 "warm_mirror REF..." "$@" || exit
    export work
    printf '%s\n' "$@" | xargs -P 4 -n 1 sh -c '
        dir=$(mktemp -d "$work/XXXXXXXXXX") || exit
        fetch-manifest -o "$dir/m.json" "$1" &&
            list-blobs --recursive --from "$1" "$dir/m.json" >"$dir/lines" &&
            { test ! -s "$dir/lines" ||
                fetch-blob "$1" --into "oci:$dir/img" <"$dir/lines" >"$dir/fetched"; }
        status=$?
        rm -rf "$dir"
        test "$status" -eq 0 || { echo "$status" >>"$work/failed"; exit 1; }' sh
    last=$?
    [ ! -s "$work/failed" ] || read -r last <"$work/failed"
    exit "$last"
)

# --- Reading ---

# pull_image REF LAYOUT: fetches an image into a layout, with all its platforms, or only with
# $REGUTILS_PLATFORM. Continues a stopped pull.
pull_image() (
    regutils_start 2 2 "pull_image REF oci:DIR[:TAG]" "$@" || exit
    case $2 in
    oci:*) ;;
    *) regutils_usage || exit ;;
    esac
    if [ -n "${REGUTILS_PLATFORM-}" ]; then
        fetch-manifest -p "$REGUTILS_PLATFORM" --into "$2" -o "$work/m.json" "$1"
    else
        fetch-manifest --into "$2" -o "$work/m.json" "$1"
    fi &&
        list-blobs --recursive --from "$1" "$work/m.json" >"$work/lines" || exit
    if [ -s "$work/lines" ]; then
        fetch-blob "$1" --into "$(regutils_store "$2")" <"$work/lines" >"$work/fetched"
    fi
)

# unpack_image REF DIR: unpacks the root file system of an image.
unpack_image() (
    regutils_start 2 2 "unpack_image REF DIR" "$@" || exit
    regutils_image "$1" "$work/m.json" && list-blobs "$work/m.json" >"$work/all" || exit
    case $1 in
    oci:*) unpack-layer --from "$(regutils_store "$1")" "$2" <"$work/all" >"$work/unpacked" ;;
    *)
        regutils_first fetch-blob "$1" --early --into "$img" <"$work/all" |
            unpack-layer --from "$img" "$2" >"$work/unpacked"
        regutils_pipe $?
        ;;
    esac
)

# image_config REF: prints the image config.
image_config() (
    regutils_start 1 1 "image_config REF" "$@" || exit
    regutils_image "$1" "$work/m.json" && list-blobs --config "$work/m.json" >"$work/line" &&
        fetch-blob "$1" <"$work/line"
)

# image_size REF: prints the total size in bytes of the stored config and layers.
image_size() (
    regutils_start 1 1 "image_size REF" "$@" || exit
    regutils_image "$1" "$work/m.json" && list-blobs "$work/m.json" >"$work/all" &&
        sed 's/.*"size":\([0-9][0-9]*\).*/\1/' "$work/all" |
        awk '{ sum += $1 } END { if (!NR) exit 1; printf "%.0f\n", sum }'
)

# list_files REF: lists the files of an image, each with its layer.
list_files() (
    regutils_start 1 1 "list_files REF" "$@" || exit
    regutils_image "$1" "$work/m.json" && list-blobs "$work/m.json" >"$work/all" &&
        list-layer --from "$1" --merged <"$work/all"
)

# find_file REF PATH: prints the digest of the layer that a file is from.
find_file() (
    regutils_start 2 2 "find_file REF PATH" "$@" || exit
    regutils_image "$1" "$work/m.json" && list-blobs "$work/m.json" >"$work/all" &&
        list-layer --from "$1" --merged --json <"$work/all" >"$work/files" || exit
    inside=${2#/}
    inside=${inside#./}
    inside=$(printf '%s\n' "${inside%/}" | sed 's/[\\"]/\\&/g')
    # The name of a directory can end with a slash.
    grep -F -e "\"name\":\"$inside\"" -e "\"name\":\"$inside/\"" "$work/files" |
        regutils_field layer >"$work/found"
    [ -s "$work/found" ] || regutils_fail 3 "no such file in $1: $2" || exit
    cat "$work/found"
)

# image_file [--verify] REF PATH: writes the content of a file to standard output. Without
# --verify, the rest of the image is not read, and a warning says that the file is not verified.
image_file() (
    verify=
    [ "${1-}" != --verify ] || { verify=--verify; shift; }
    regutils_start 2 2 "image_file [--verify] REF PATH" "$@" || exit
    regutils_image "$1" "$work/m.json" && list-blobs "$work/m.json" >"$work/all" &&
        list-layer --from "$1" --extract "$2" $verify <"$work/all"
)

# diff_images REF REF: shows the differences of two images in the names, types, modes, owners,
# sizes, times and links of their files. The status is 1 if the images differ.
diff_images() (
    regutils_start 2 2 "diff_images REF REF" "$@" || exit
    list_files "$1" >"$work/list" && sed 's/^[^ ]* *//' "$work/list" >"$work/a" &&
        list_files "$2" >"$work/list" && sed 's/^[^ ]* *//' "$work/list" >"$work/b" || exit
    diff "$work/a" "$work/b"
)

# --- Changing an image. FROM is not changed. The new image is stored under TO. ---

# change_config FROM TO OPTION...: changes settings with the options of build-config.
change_config() (
    regutils_start 3 1000 "change_config FROM TO OPTION..." "$@" || exit
    from=$1 to=$2
    shift 2
    regutils_open "$from" &&
        build-config --base "$work/config.json" --no-layers "$@" --into "$img" >"$work/lines" &&
        list-blobs --layers "$work/m.json" >>"$work/lines" &&
        build-manifest --oci --from "$img" <"$work/lines" >"$work/new.json" &&
        regutils_store_image "$from" "$to"
)

# set_entrypoint FROM TO PROGRAM [ARG...]: changes the program that a container runs.
set_entrypoint() (
    regutils_start 3 1000 "set_entrypoint FROM TO PROGRAM [ARG...]" "$@" || exit
    from=$1 to=$2
    shift 2
    # Each argument is replaced by an option.
    for argument in "$@"; do
        set -- "$@" "--entrypoint=$argument"
        shift
    done
    change_config "$from" "$to" "$@"
)

# regutils_add FROM TO: adds the layer whose line is in the file own.
regutils_add() {
    regutils_open "$1" &&
        build-config --base "$work/config.json" --into "$img" <"$work/own" >"$work/lines" &&
        list-blobs --layers "$work/m.json" >>"$work/lines" &&
        cat "$work/own" >>"$work/lines" &&
        build-manifest --oci --from "$img" <"$work/lines" >"$work/new.json" &&
        regutils_store_image "$1" "$2"
}

# add_layer FROM DIR TO: adds a directory or a tar archive as the top layer.
add_layer() (
    regutils_start 3 3 "add_layer FROM DIR TO" "$@" || exit
    pack-layer "$2" --into "$img" >"$work/own" && regutils_add "$1" "$3"
)

# add_file FROM FILE PATH TO: adds one file, which belongs to root. Directories are not changed.
add_file() (
    regutils_start 4 4 "add_file FROM FILE PATH TO" "$@" || exit
    inside=${3#/}
    case /$inside/ in
    */../* | */./* | *//*) regutils_fail 2 "invalid path: $3" || exit ;;
    esac
    [ -f "$2" ] || regutils_fail 3 "no such file: $2" || exit
    parent=$work/root/$inside
    mkdir -p "${parent%/*}" && cp -pL -- "$2" "$parent" || exit 7
    tar --owner=0 --group=0 --numeric-owner -cf "$work/own.tar" -C "$work/root" -- "$inside" ||
        exit 7
    pack-layer "$work/own.tar" --into "$img" >"$work/own" && regutils_add "$1" "$4"
)

# drop_layer FROM NUMBER TO: removes a layer. 1 is the base, -1 is the top layer. The history is
# not kept.
drop_layer() (
    regutils_start 3 3 "drop_layer FROM NUMBER TO" "$@" || exit
    regutils_need jq || exit
    case $2 in
    -*[!0-9]* | [!0-9-]* | [0-9]*[!0-9]* | 0* | -0* | -) regutils_usage || exit ;;
    esac
    regutils_open "$1" &&
        list-blobs --layers --diff-ids --from "$1" "$work/m.json" >"$work/old" || exit
    count=$(wc -l <"$work/old") number=$2
    [ "$number" -gt 0 ] || number=$((count + 1 + number))
    [ "$number" -ge 1 ] && [ "$number" -le "$count" ] ||
        regutils_fail 3 "no layer $2: the image has $((count)) layers" || exit
    [ "$count" -gt 1 ] || regutils_fail 2 "the image has only this layer" || exit
    sed "${number}d" "$work/old" >"$work/own" &&
        regutils_rebuild "$work/own" "$work/config.json" && regutils_store_image "$1" "$3"
)

# squash_image FROM TO: replaces all layers by one. The history is not kept. For an ordinary user,
# all files belong to root, because only root can keep the owners of files.
squash_image() (
    regutils_start 2 2 "squash_image FROM TO" "$@" || exit
    regutils_need jq || exit
    owner=
    [ "$(id -u)" -eq 0 ] || owner='--owner 0:0'
    regutils_open "$1" && unpack_image "$1" "$work/root" &&
        pack-layer $owner "$work/root" --into "$img" >"$work/own" &&
        regutils_rebuild "$work/own" "$work/config.json" && regutils_store_image "$1" "$2"
)

# rebase_image FROM OLDBASE NEWBASE TO: moves the image's own layers and settings to a new base. The
# bottom layers of the image must be those of OLDBASE.
rebase_image() (
    regutils_start 4 4 "rebase_image FROM OLDBASE NEWBASE TO" "$@" || exit
    regutils_need jq || exit
    regutils_image "$2" "$work/m.json" && list-blobs --layers "$work/m.json" >"$work/old" &&
        regutils_image "$3" "$work/base.json" &&
        list-blobs --layers --diff-ids --from "$3" "$work/base.json" >"$work/layers" &&
        list-blobs --config "$work/base.json" >"$work/line" &&
        fetch-blob "$3" -o "$work/base.config" <"$work/line" &&
        regutils_open "$1" &&
        list-blobs --layers --diff-ids --from "$1" "$work/m.json" >"$work/image" || exit
    count=$(wc -l <"$work/old")
    regutils_field digest <"$work/old" >"$work/a"
    head -n "$((count))" "$work/image" | regutils_field digest >"$work/b"
    cmp -s "$work/a" "$work/b" ||
        regutils_fail 1 "the bottom layers of $1 are not those of $2" || exit
    tail -n +"$((count + 1))" "$work/image" >"$work/own"
    [ -s "$work/own" ] || regutils_fail 1 "$1 has no layers of its own" || exit
    # Settings of the image, with the layers and the history of the new base.
    jq -c --slurpfile image "$work/config.json" '.config = $image[0].config' \
        <"$work/base.config" >"$work/base.new" &&
        build-config --base "$work/base.new" --into "$img" <"$work/own" >"$work/lines" &&
        cat "$work/layers" "$work/own" >>"$work/lines" &&
        build-manifest --oci --from "$img" <"$work/lines" >"$work/new.json" || exit
    push-blob "$4" --from "$3" <"$work/layers" >"$work/pushed" &&
        push-blob "$4" --from "$1" <"$work/own" >"$work/pushed" &&
        list-blobs --config "$work/new.json" >"$work/line" &&
        push-blob "$4" --from "$img" <"$work/line" >"$work/pushed" &&
        put-manifest "$4" "$work/new.json"
)

# --- Several platforms, and media types ---

# regutils_child REF TO OPTION...: copies one image to the store of TO, by its digest and with
# build-manifest's options, and adds its line to the file children.
regutils_child() {
    child=$1 target=$(regutils_store "$2")
    shift 2
    fetch-manifest -o "$work/child.json" "$child" && list-blobs "$work/child.json" >"$work/all" &&
        push-blob "$target" --from "$child" <"$work/all" >"$work/pushed" || return
    if [ $# -gt 0 ]; then
        build-manifest "$@" <"$work/all" >"$work/made.json" || return
        list-blobs "$work/made.json" >"$work/all" || return
    else
        cp "$work/child.json" "$work/made.json" || return
    fi
    # build-index reads the manifest and the config.
    list-blobs --config "$work/made.json" >"$work/line" &&
        fetch-blob "$child" --into "$img" <"$work/line" >"$work/fetched" &&
        push-blob "$img" --from "$child" <"$work/all" >"$work/pushed" &&
        put-manifest --by-digest "$img" "$work/made.json" >"$work/pushed" &&
        put-manifest --by-digest "$target" "$work/made.json" >>"$work/children"
}

# regutils_children REF FILE: prints the references of the images that a manifest lists, without
# attestations.
regutils_children() {
    if regutils_is_index "$2"; then
        list-blobs "$2" >"$work/listed" || return
        grep -v '"architecture":"unknown"' "$work/listed" | regutils_field digest >"$work/digests"
        while IFS= read -r digest; do
            regutils_at "$1" "$digest"
        done <"$work/digests"
    else
        digest=$(regutils_digest "$2") && regutils_at "$1" "$digest"
    fi
}

# make_index TO REF...: builds an index of images for several platforms.
make_index() (
    regutils_start 2 100 "make_index TO REF..." "$@" || exit
    to=$1
    shift
    : >"$work/children"
    for ref in "$@"; do
        fetch-manifest -o "$work/m.json" "$ref" &&
            regutils_children "$ref" "$work/m.json" >"$work/refs" || exit
        while IFS= read -r child; do
            regutils_child "$child" "$to" </dev/null || exit
        done <"$work/refs"
    done
    build-index --from "$img" <"$work/children" >"$work/index.json" &&
        put-manifest "$to" "$work/index.json"
)

# regutils_convert OPTION FROM TO: stores an image or an index with other media types.
regutils_convert() {
    fetch-manifest -o "$work/m.json" "$2" || return
    if ! regutils_is_index "$work/m.json"; then
        list-blobs "$work/m.json" >"$work/all" &&
            push-blob "$3" --from "$2" <"$work/all" >"$work/pushed" &&
            build-manifest "$1" <"$work/all" >"$work/new.json" &&
            put-manifest "$3" "$work/new.json"
        return
    fi
    : >"$work/children"
    regutils_children "$2" "$work/m.json" >"$work/refs" || return
    while IFS= read -r child; do
        regutils_child "$child" "$3" "$1" </dev/null || return
    done <"$work/refs"
    # OCI is the default.
    option=$1
    [ "$option" != --oci ] || option=
    build-index $option --from "$img" <"$work/children" >"$work/index.json" &&
        put-manifest "$3" "$work/index.json"
}

# to_docker FROM TO: stores an image with Docker's media types. The blobs do not change. An index
# loses its attestations.
to_docker() (
    regutils_start 2 2 "to_docker FROM TO" "$@" || exit
    regutils_convert --docker "$@"
)

# to_oci FROM TO: stores an image with OCI's media types.
to_oci() (
    regutils_start 2 2 "to_oci FROM TO" "$@" || exit
    regutils_convert --oci "$@"
)

# --- Referrers ---

# attach_file REF FILE TYPE: attaches a file, for example an SBOM, to an image as a referrer. TYPE
# is the media type of the file and the artifact type of the referrer.
attach_file() (
    regutils_start 3 3 "attach_file REF FILE TYPE" "$@" || exit
    store=$(regutils_store "$1")
    fetch-manifest --descriptor "$1" >"$work/subject" &&
        push-blob "$store" --media-type "$3" \
            --annotation "org.opencontainers.image.title=${2##*/}" "$2" >"$work/line" &&
        build-manifest --artifact-type "$3" --subject "$work/subject" <"$work/line" \
            >"$work/new.json" &&
        put-manifest "$store" "$work/new.json"
)

# list_attached REF [TYPE]: prints the descriptor lines of an image's referrers.
list_attached() (
    regutils_start 1 2 "list_attached REF [TYPE]" "$@" || exit
    if [ $# -eq 1 ]; then
        list-referrers "$1"
    else
        list-referrers --artifact-type "$2" "$1"
    fi
)

# fetch_attached REF TYPE: writes the content of the only referrer of this artifact type.
fetch_attached() (
    regutils_start 2 2 "fetch_attached REF TYPE" "$@" || exit
    list-referrers --artifact-type "$2" "$1" >"$work/lines" || exit
    count=$(wc -l <"$work/lines")
    [ "$count" -gt 0 ] || regutils_fail 3 "$1 has no referrer of type $2" || exit
    if [ "$count" -gt 1 ]; then
        regutils_fail 2 "$1 has $((count)) referrers of type $2:" \
            "use pull_files with one of" $(regutils_field digest <"$work/lines") || exit
    fi
    digest=$(regutils_field digest <"$work/lines")
    fetch-manifest -o "$work/m.json" "$(regutils_at "$1" "$digest")" &&
        list-blobs --layers "$work/m.json" >"$work/blobs" || exit
    while IFS= read -r line; do
        printf '%s\n' "$line" >"$work/line"
        fetch-blob "$1" <"$work/line" || exit
    done <"$work/blobs"
)

# sign_image REF KEY: signs an image with a private key of openssl, and attaches the signature. The
# signed text is the image's digest and a newline.
sign_image() (
    regutils_start 2 2 "sign_image REF KEY" "$@" || exit
    regutils_need openssl || exit
    digest=$(fetch-manifest --digest "$1") || exit
    image=$(regutils_at "$1" "$digest") type=application/vnd.regutils.signature.v1
    printf '%s\n' "$digest" >"$work/text"
    openssl pkeyutl -sign -rawin -inkey "$2" -in "$work/text" -out "$work/signature" >&2 ||
        regutils_fail 7 "openssl cannot sign with $2" || exit
    attach_file "$image" "$work/signature" "$type"
)

# verify_image REF KEY: prints the digest of an image that has a signature of this public key.
verify_image() (
    regutils_start 2 2 "verify_image REF KEY" "$@" || exit
    regutils_need openssl || exit
    openssl pkey -pubin -in "$2" -noout >&2 || regutils_fail 7 "not a public key: $2" || exit
    digest=$(fetch-manifest --digest "$1") || exit
    image=$(regutils_at "$1" "$digest") type=application/vnd.regutils.signature.v1
    printf '%s\n' "$digest" >"$work/text"
    list-referrers --artifact-type "$type" "$image" >"$work/lines" || exit
    [ -s "$work/lines" ] || regutils_fail 3 "$1 has no signature" || exit
    regutils_field digest <"$work/lines" >"$work/digests"
    last=1
    while IFS= read -r signature; do
        fetch-manifest -o "$work/m.json" "$(regutils_at "$1" "$signature")" &&
            list-blobs --layers "$work/m.json" >"$work/line" &&
            fetch-blob "$1" --max-size 64k -o "$work/signature" <"$work/line" ||
            { last=$?; continue; }
        if openssl pkeyutl -verify -rawin -pubin -inkey "$2" -in "$work/text" \
            -sigfile "$work/signature" >/dev/null 2>&1; then
            printf '%s\n' "$digest"
            exit 0
        fi
    done <"$work/digests"
    regutils_fail "$last" "no signature of $1 is by this key"
)

# --- Files in a registry ---

# push_files REF FILE...: stores files as an artifact, with their names as titles. oras can read
# this artifact.
push_files() (
    regutils_start 2 1000 "push_files REF FILE..." "$@" || exit
    ref=$1 type=application/vnd.unknown.artifact.v1
    shift
    for file in "$@"; do
        printf '%s\n' "${file##*/}"
    done | sort | uniq -d >"$work/twice"
    [ ! -s "$work/twice" ] || regutils_fail 2 "two files are named" $(cat "$work/twice") || exit
    for file in "$@"; do
        push-blob "$ref" --media-type application/octet-stream \
            --annotation "org.opencontainers.image.title=${file##*/}" "$file" \
            >>"$work/lines" || exit
    done
    build-manifest --artifact-type "$type" <"$work/lines" >"$work/new.json" &&
        put-manifest "$ref" "$work/new.json"
)

# pull_files REF [DIR]: fetches the files of an artifact. Their titles are the file names. If a
# title is not a plain file name, nothing is written.
pull_files() (
    regutils_start 1 2 "pull_files REF [DIR]" "$@" || exit
    dir=${2:-.}
    fetch-manifest -o "$work/m.json" "$1" && list-blobs --layers "$work/m.json" >"$work/all" || exit
    # Files without a title are skipped: their names are not known.
    grep -F '"org.opencontainers.image.title"' "$work/all" >"$work/titled"
    [ -s "$work/titled" ] || regutils_fail 3 "no file of $1 has a title" || exit
    : >"$work/titles"
    while IFS= read -r line; do
        # A title with a backslash gives an empty text here.
        title=$(printf '%s\n' "$line" |
            sed -n 's/.*"org.opencontainers.image.title":"\([^"\\]*\)".*/\1/p')
        case $title in
        '' | . | .. | */* | *[[:cntrl:]]*)
            regutils_fail 6 "the title of a file is not a file name: ${title:-not printable}" ||
                exit
            ;;
        esac
        if [ -L "$dir/$title" ] || [ -d "$dir/$title" ]; then
            regutils_fail 7 "not a regular file: $dir/$title" || exit
        fi
        printf '%s\n' "$title" >>"$work/titles"
    done <"$work/titled"
    [ -z "$(sort "$work/titles" | uniq -d)" ] || regutils_fail 6 "two files have one title" || exit
    mkdir -p -- "$dir" || exit 7
    exec 3<"$work/titles"
    while IFS= read -r line; do
        IFS= read -r title <&3
        printf '%s\n' "$line" >"$work/line"
        fetch-blob "$1" -o "$dir/$title" <"$work/line" || exit
    done <"$work/titled"
)

# --- Archives ---

# regutils_pack FILE DIR NAME...: makes an archive of the names in DIR. FILE appears only when it is
# complete; "-" is standard output.
regutils_pack() {
    archive=$1 dir=$2
    shift 2
    set -- --owner=0 --group=0 --numeric-owner --mtime=@0 --sort=name -C "$dir" "$@"
    if [ "$archive" = - ]; then
        tar -cf - "$@" || return 7
        return
    fi
    part=$(mktemp "$archive.XXXXXXXXXX") || return 7
    # Only the owner can read a file of mktemp.
    tar -cf "$part" "$@" && chmod "$(umask -S),a-x" "$part" && mv -f -- "$part" "$archive" ||
        { rm -f -- "$part"; return 7; }
}

# regutils_unpack FILE DIR: unpacks an archive; "-" is standard input.
regutils_unpack() {
    [ "$1" = - ] || [ -f "$1" ] || regutils_fail 3 "no such file: $1" || return
    mkdir -p "$2" && tar --no-same-owner --no-same-permissions -xf "$1" -C "$2" ||
        regutils_fail 6 "tar cannot unpack $1"
}

# save_docker_archive REF FILE [NAME]: writes an archive for "docker load". NAME is the image's name
# in the archive. If REF is a tag in a registry, the default is REF.
save_docker_archive() (
    regutils_start 2 3 "save_docker_archive REF FILE [NAME]" "$@" || exit
    name=${3-}
    if [ -z "$name" ] && [ -n "$(regutils_tag "$1")" ]; then
        case $1 in
        oci:* | *@*) ;;
        *) name=$1 ;;
        esac
    fi
    case $name in
    *[!A-Za-z0-9._/:-]*) regutils_fail 2 "invalid name: $name" || exit ;;
    ?*) name=\"$name\" ;;
    esac
    regutils_image "$1" "$work/m.json" && list-blobs "$work/m.json" >"$work/all" &&
        fetch-blob "$1" --into "$img" <"$work/all" >"$work/fetched" &&
        list-blobs --layers "$work/m.json" >"$work/layers" || exit
    mkdir "$work/out"
    config=$(head -n 1 "$work/all" | regutils_field digest)
    config=${config#*:}
    ln "$work"/img/blobs/*/"$config" "$work/out/$config.json" || exit 7
    list=
    regutils_field digest <"$work/layers" >"$work/digests"
    while IFS= read -r digest; do
        digest=${digest#*:}
        ln -f "$work"/img/blobs/*/"$digest" "$work/out/$digest.tar" || exit 7
        list=$list${list:+,}\"$digest.tar\"
    done <"$work/digests"
    printf '[{"Config":"%s.json","RepoTags":[%s],"Layers":[%s]}]\n' "$config" "$name" "$list" \
        >"$work/out/manifest.json"
    names=$(cd "$work/out" && echo *)
    regutils_pack "$2" "$work/out" $names
)

# save_oci_archive REF FILE [TAG]: writes a layout with all platforms as an archive. The default of
# TAG is the tag of REF, or else "latest".
save_oci_archive() (
    regutils_start 2 3 "save_oci_archive REF FILE [TAG]" "$@" || exit
    tag=${3:-$(regutils_tag "$1")}
    copy_image "$1" "$img:${tag:-latest}" >"$work/line" &&
        regutils_pack "$2" "$work/img" oci-layout index.json blobs
)

# load_oci_archive FILE TO [NAME]: stores an image from such an archive. NAME selects one of several
# images.
load_oci_archive() (
    regutils_start 2 3 "load_oci_archive FILE TO [NAME]" "$@" || exit
    regutils_unpack "$1" "$work/img" && copy_image "$img${3:+:$3}" "$2"
)

# load_docker_archive FILE TO [NAME]: stores an image that "docker save" wrote. NAME selects one of
# several images.
load_docker_archive() (
    regutils_start 2 3 "load_docker_archive FILE TO [NAME]" "$@" || exit
    regutils_need jq || exit
    regutils_unpack "$1" "$work/in" || exit
    [ -f "$work/in/manifest.json" ] ||
        regutils_fail 6 "$1 is not an archive of docker save: it has no manifest.json" || exit
    jq -c --arg name "${3-}" '.[] | select($name == "" or (.RepoTags // [] | index($name)))' \
        <"$work/in/manifest.json" >"$work/images" || exit 6
    [ -s "$work/images" ] || regutils_fail 3 "no such image in $1: ${3-}" || exit
    [ "$(wc -l <"$work/images")" -eq 1 ] ||
        regutils_fail 2 "several images, name one of" \
            $(jq -r '.RepoTags // [] | .[]' <"$work/images") || exit
    jq -r '.Config, .Layers[]' <"$work/images" >"$work/names" || exit 6
    root=$(realpath "$work/in")
    type=application/vnd.oci.image.config.v1+json number=0
    while IFS= read -r name; do
        # A link in the archive must not lead out of the archive.
        file=$(realpath -- "$work/in/$name" 2>/dev/null)
        case $file in
        "$root"/?*) [ -f "$file" ] || regutils_fail 6 "not in the archive: $name" || exit ;;
        *) regutils_fail 6 "not in the archive: $name" || exit ;;
        esac
        if [ "$number" -eq 0 ]; then
            push-blob "$img" --media-type "$type" "$file" >"$work/lines" || exit
            jq -r '.rootfs.diff_ids[]' <"$file" >"$work/ids" || exit 6
        else
            id=$(sed -n "${number}p" "$work/ids")
            [ -n "$id" ] || regutils_fail 1 "the config has fewer layers than the archive" || exit
            type=$(detect-mediatype "$file") || exit
            case $type in
            *+gzip | *+zstd)
                list-layer --diff-id "$id" "$file" >"$work/listed" &&
                    push-blob "$img" --media-type "$type" "$file" >>"$work/lines" || exit
                ;;
            *) pack-layer "$file" --into "$img" >>"$work/lines" || exit ;;
            esac
        fi
        number=$((number + 1))
    done <"$work/names"
    build-manifest --oci --from "$img" <"$work/lines" >"$work/new.json" &&
        regutils_store_image "$img" "$2"
)

# --- Registries ---

# rate_limit [REF]: prints the number of pulls that a registry still permits. The default is Docker
# Hub, which counts this command as one pull.
rate_limit() (
    regutils_start 0 1 "rate_limit [REF]" "$@" || exit
    probe-registry -q "${1:-docker.io/library/alpine:latest}" >"$work/facts" &&
        sed -n 's/^rate-limit: //p' "$work/facts"
)

# regutils_auth HOST: sets $auth to the first existing file with credentials that the tools read,
# and $key to the host's key in this file. $work/auth is a copy of the file.
regutils_auth() {
    case $1 in
    docker.io | index.docker.io | registry-1.docker.io) key=https://index.docker.io/v1/ ;;
    *) key=$1 ;;
    esac
    auth=${DOCKER_CONFIG:-$HOME/.docker}/config.json
    for file in "${XDG_CONFIG_HOME:-$HOME/.config}/containers/auth.json" \
        "${XDG_RUNTIME_DIR:-/run/containers/$(id -u)}${XDG_RUNTIME_DIR:+/containers}/auth.json"; do
        [ ! -f "$file" ] || auth=$file
    done
    auth=${REGISTRY_AUTH_FILE:-$auth}
    mkdir -p -- "$(dirname -- "$auth")" && auth=$(realpath -- "$auth") || return 7
    if [ -s "$auth" ]; then
        cat "$auth" >"$work/auth" || return 7
    else
        echo '{}' >"$work/auth"
    fi
    # The tools would ask the helper, and not read the stored password.
    jq -e --arg key "$key" '.credsStore // .credHelpers[$key] | not' <"$work/auth" >"$work/plain" ||
        regutils_fail 7 "$auth names a credential helper: use its own login"
}

# regutils_write_auth: replaces the file $auth by $work/new.auth. Only the owner can read the file.
regutils_write_auth() {
    umask 077
    new=$(mktemp "$auth.XXXXXXXXXX") || return 7
    cat "$work/new.auth" >"$new" && mv -f -- "$new" "$auth" || { rm -f -- "$new"; return 7; }
}

# log_in HOST USER: reads a password from standard input, and stores it if the registry accepts it.
log_in() (
    regutils_start 2 2 "log_in HOST USER" "$@" || exit
    regutils_need jq || exit
    umask 077
    if [ -t 0 ]; then
        printf 'password: ' >&2
        terminal=$(stty -g)
        trap 'stty "$terminal"; rm -rf "$work"' EXIT
        stty -echo
    fi
    IFS= read -r password || [ -n "$password" ] || regutils_fail 6 "no password" || exit
    [ ! -t 0 ] || echo >&2
    # printf is part of the shell: no other user sees the password among the processes.
    printf '%s' "$password" >"$work/password"
    probe-registry -q --json -u "$2" --password-file "$work/password" "$1" >"$work/facts" || exit
    [ "$(jq .access.value <"$work/facts")" = true ] ||
        regutils_fail 4 "refused: $(jq -r '.access.why // "no reason given"' <"$work/facts")" ||
        exit
    regutils_auth "$1" || exit
    printf '%s:%s' "$2" "$password" | base64 | tr -d '\n' >"$work/secret"
    jq --arg key "$key" --rawfile secret "$work/secret" \
        '.auths[$key] = {auth: $secret}' <"$work/auth" >"$work/new.auth" || exit 6
    regutils_write_auth
)

# log_out HOST: removes the stored password.
log_out() (
    regutils_start 1 1 "log_out HOST" "$@" || exit
    regutils_need jq && regutils_auth "$1" || exit
    jq -e --arg key "$key" '.auths // {} | has($key)' <"$work/auth" >"$work/has" ||
        regutils_fail 3 "no login for $1 in $auth" || exit
    jq --arg key "$key" 'del(.auths[$key])' <"$work/auth" >"$work/new.auth" || exit 6
    regutils_write_auth
)
