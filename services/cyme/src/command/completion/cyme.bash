# Completion of cyme for bash: what `cyme completion bash` prints.
_cyme() {
    local candidate
    COMPREPLY=()
    while IFS= read -r candidate; do
        printf -v candidate %q "$candidate"
        COMPREPLY+=("$candidate")
    done < <("$1" completion words "${COMP_WORDS[@]:1:COMP_CWORD-1}" "${COMP_WORDS[COMP_CWORD]}" 2>/dev/null)
}
complete -F _cyme cyme
