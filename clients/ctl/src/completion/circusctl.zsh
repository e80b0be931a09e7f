#compdef circusctl
# Completion of circusctl for zsh: what `circusctl completion zsh` prints.
_circusctl() {
    local -a found
    found=("${(@f)$("${words[1]}" completion words "${(@Q)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    compadd -- ${found:#}
}
if [[ ${funcstack[1]-} == _circusctl ]]; then
    _circusctl "$@"
else
    compdef _circusctl circusctl
fi
