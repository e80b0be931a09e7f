#!/bin/sh
# Writes layout/circusd.ld: which functions circusd runs from day to day, for the linker to lay side by side.
#
#   CIRCUS_NO_LAYOUT=1 cargo build --release
#   layout/profile.sh target/release/circusd target/release/circusctl > layout/circusd.ld.new
#
# It needs valgrind, which knows no names outside of .text: hence a program without this layout. A fleet starts under callgrind, which counts from then on: deaths, commands, events, output, lines
# of log. Again when much of the code has new names; names that are not there any more do no harm.
set -eu
circusd=$(realpath "$1") circusctl=$(realpath "$2")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/circus.ini" <<END
[circus]
endpoint = ipc://$dir/control
pubsub_endpoint = ipc://$dir/events
[watcher:w]
cmd = sleep 1000
numprocesses = 20
[watcher:o]
cmd = sh -c 'while :; do echo line; sleep 0.05; done'
stdout_stream.class = FileStream
stdout_stream.filename = $dir/output
END
ctl() { "$circusctl" --endpoint "ipc://$dir/control" --timeout 60 "$@" >/dev/null; }
valgrind --tool=callgrind --demangle=no --instr-atstart=no --callgrind-out-file="$dir/counts" \
    "$circusd" "$dir/circus.ini" >"$dir/log" 2>&1 &
daemon=$!
ctl numprocesses
callgrind_control -i on "$daemon" >/dev/null
"$circusctl" --endpoint "ipc://$dir/control" listen >"$dir/heard" 2>&1 &
listener=$!
for _ in 1 2 3; do
    ctl status w && ctl status && ctl list w && ctl numprocesses w && ctl numwatchers
    for pid in $(pgrep -P "$daemon" sleep | head -n 2); do kill -9 "$pid"; done
    ctl incr w && ctl decr w && ctl stats w && ctl stats
done
sleep 2
callgrind_control -i off "$daemon" >/dev/null
kill "$listener"
ctl quit
wait "$daemon"

# Hashes in names change with the compiler and the version.
names() {
    awk '/^ob=/ { match($0, /\([0-9]+\)/); id = substr($0, RSTART, RLENGTH)
                  if (length($0) > RSTART + RLENGTH) objects[id] = $2; ours = objects[id] ~ /circusd/ }
         /^c?fn=/ { match($0, /\([0-9]+\)/); id = substr($0, RSTART, RLENGTH)
                    if (NF > 1) functions[id] = $2; if (ours && /^fn=/) print functions[id] }
         /^cob=/ { match($0, /\([0-9]+\)/); id = substr($0, RSTART, RLENGTH)
                   if (length($0) > RSTART + RLENGTH) objects[id] = $2 }' "$dir/counts" |
        sed -n "s/'[0-9]*\$//; s/17h[0-9a-f]\{16\}E/17h*E/; s/Cs[0-9A-Za-z]*_/Cs*_/g; s/\.[0-9]*\$/*/; /^[_a-z]/p" | LC_ALL=C sort -u
}
echo '/* What circusd runs from day to day, side by side. Made by layout/profile.sh, which says why and how. */'
echo 'SECTIONS'
echo '{'
echo '  .text.hot : {'
names | sed 's/^\(.\{100\}\).*/\1*/; s/.*/    *(.text*.&)/'
echo '  }'
echo '}'
echo 'INSERT BEFORE .text;'
