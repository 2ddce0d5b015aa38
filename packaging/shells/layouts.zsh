
# Completes oci:DIR, and the tags of a layout after oci:DIR:.
(( $+functions[_regutils_store] )) ||
_regutils_store() {
    local dir
    local -a tags
    if ! compset -P 'oci:'; then
        compadd -S '' -- oci:
    elif [[ $PREFIX == *:* ]]; then
        dir=${(Q)PREFIX%%:*}
        compset -P '*:'
        tags=(${(f)"$(list-tags oci:$dir 2>/dev/null)"})
        compadd -- $tags
    else
        _path_files -/ -r ': /\t\n\-'
    fi
}
