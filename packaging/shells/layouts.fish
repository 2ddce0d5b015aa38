
# Completes oci:DIR, and the tags of a layout after oci:DIR:.
function __regutils_store
    set -l word (string replace -r '^--[a-z-]+=' '' -- (commandline -ct))
    if not string match -q 'oci:*' -- $word
        echo oci:
        return
    end
    set -l parts (string split -m 2 : -- $word)
    if set -q parts[3]
        list-tags oci:$parts[2] 2>/dev/null | string replace -r '^' "oci:$parts[2]:"
        return
    end
    for dir in $parts[2]*/
        if test -e $dir/oci-layout
            echo oci:(string trim -r -c / -- $dir)
            echo oci:(string trim -r -c / -- $dir):
        else
            echo oci:$dir
        end
    end
end
