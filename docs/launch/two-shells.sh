#!/bin/sh
# Two processes of one machine; on two machines give each its own line, and HOST instead of
# localhost: the name by which the others reach the machine of process 0.
set -eu
together="--data cut --run together --coordinator localhost:8476 --processes 2"

jaxrec run $together --process 1 &
jaxrec run $together --process 0
wait
