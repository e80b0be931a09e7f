#compdef cyme
# Completion of cyme for zsh: what `cyme completion zsh` prints.
_cyme() {
    local -a found
    found=("${(@f)$("${words[1]}" completion words "${(@Q)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    compadd -- ${found:#}
}
if [[ ${funcstack[1]-} == _cyme ]]; then
    _cyme "$@"
else
    compdef _cyme cyme
fi
