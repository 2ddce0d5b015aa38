
# Completes oci:DIR, and the tags of a layout after oci:DIR:. The function above completes all other
# words. The word is read from the line, because bash splits words at the characters of
# COMP_WORDBREAKS, which has ":" and "=". Names from a layout are quoted: they can be any text.
_regutils_TOOL() {
    local line=${COMP_LINE:0:COMP_POINT} before dir name quoted
    local word=${line##*[[:space:]]}
    if [[ $word == --*=* ]]; then
        before=${word%%=*} word=${word#*=}
    else
        before=${line%"$word"}
        before=${before%"${before##*[![:space:]]}"}
        before=${before##*[[:space:]]}
    fi
    COMPREPLY=()
    case $word in
    oci:*:*)
        dir=${word#oci:} dir=${dir%%:*}
        while IFS= read -r name; do
            printf -v quoted %q "$name"
            [[ $quoted != "${word#"oci:$dir:"}"* ]] || COMPREPLY+=("oci:$dir:$quoted")
        done < <(list-tags "oci:$dir" 2>/dev/null)
        ;;
    oci:*)
        # After a layout, the user adds a colon or a space.
        compopt -o nospace
        while IFS= read -r dir; do
            printf -v quoted %q "$dir"
            [[ -e $dir/oci-layout ]] || quoted+=/
            COMPREPLY+=("oci:$quoted")
        done < <(compgen -d -- "${word#oci:}")
        ;;
    *)
        _GENERATED "$@"
        if [[ oci: == "$word"* && ' STORES ' == *" $before "* ]]; then
            compopt -o nospace
            COMPREPLY=(oci:)
        fi
        return
        ;;
    esac
    # bash replaces only the part after the last ":".
    if [[ $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    fi
}
complete -F _regutils_TOOL -o bashdefault -o default TOOL
