#!/bin/sh
# The first session with Cyme, as in its introduction: an application, an instance, a queue, a consumer, a task, and
# the end of all of them. Requests go to one branch and to the other in turn.
#   circusd examples/cyme/cyme.ini & examples/cyme/session.sh
set -eu
branch1=${BRANCH1:-http://127.0.0.1:8001}
branch2=${BRANCH2:-http://127.0.0.1:8002}

# ask ARGUMENTS...: shows a curl command and the reply, and ends the session if it is refused.
ask() {
    echo "\$ curl $*"
    reply=$(curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused -w ' (%{http_code})' "$@")
    echo "$reply"
}

# field NAME: the value of a field in the last reply.
field() {
    printf %s "$reply" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"
}

ask "$branch1/branches/"
ask -X POST "$branch1/foo/"
ask -X PUT "$branch1/foo/instances/"
instance=$(field name)
ask "$branch2/foo/instances/"
ask -X POST -d 'exchange=tasks&routing_key=tasks' "$branch1/foo/queues/tasks/"
ask "$branch2/foo/queues/"
ask -X PUT "$branch1/foo/instances/$instance/queues/tasks"

# The worker requests the branch itself.
ask "$branch1/foo/queue/tasks/$branch1/ping/"
task=$(field uuid)
ask "$branch2/foo/query/$task/wait/?timeout=60"
ask -X POST "$branch2/foo/instances/$instance/autoscale/?max=2&min=1"

ask -X DELETE "$branch1/foo/instances/$instance/queues/tasks"
ask -X DELETE "$branch1/foo/queues/tasks/"
ask -X DELETE "$branch2/foo/instances/$instance/"
ask -X DELETE "$branch1/foo/"
ask "$branch2/"
