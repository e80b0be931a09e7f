# Completion of cyme for fish: what `cyme completion fish` prints.
function __cyme_candidates
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    $before[1] completion words $before[2..-1] "$current" 2>/dev/null
end
complete -c cyme -f -a '(__cyme_candidates)'
