# Completion of circusctl for fish: what `circusctl completion fish` prints.
function __circusctl_candidates
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    $before[1] completion words $before[2..-1] "$current" 2>/dev/null
end
complete -c circusctl -f -a '(__circusctl_candidates)'
