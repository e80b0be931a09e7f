#!/bin/sh
# A plugin in shell: events come from circusctl's listen, a line each.
#
#     [plugin:deaths]
#     cmd = sh examples/plugins/deaths.sh
#
# circusd sends SIGTERM to end it, also when circusd itself is killed; circusctl and the loop end with it.
trap 'trap - TERM; kill 0' TERM
echo "deaths is there"
"${CIRCUSCTL:-circusctl}" --endpoint "$CIRCUS_PUBSUB_ENDPOINT" listen watcher. | while read -r topic body; do
    case $topic in
    watcher.*.reap:)
        watcher=${topic#watcher.}
        # A request needs no option: circusctl finds circusd by CIRCUSCTL_ENDPOINT, which is set.
        left=$("${CIRCUSCTL:-circusctl}" numprocesses "${watcher%.reap:}")
        echo "<4>${watcher%.reap:} lost a process, $left are there"
        ;;
    esac
done &
# The shell handles a signal at once only while it waits for a process.
wait
