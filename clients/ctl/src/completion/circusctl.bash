# Completion of circusctl for bash: what `circusctl completion bash` prints.
_circusctl() {
    local candidate line=${COMP_LINE:0:COMP_POINT} there=
    local word=${line##*[[:space:]]}
    # A colon ends a word for bash: what stands before it is there already.
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        there=${word%"${word##*:}"}
    fi
    COMPREPLY=()
    while IFS= read -r candidate; do
        printf -v candidate %q "$candidate"
        COMPREPLY+=("${candidate#"$there"}")
    done < <("$1" completion line "$line" 2>/dev/null)
    # More is to come behind the beginning of a name.
    case ${COMPREPLY-} in *[._]) compopt -o nospace 2>/dev/null ;; esac
}
complete -F _circusctl circusctl
