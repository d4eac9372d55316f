#!/bin/sh
# Runs `issuetide run` with the arguments given here: once at the start, then every hour at the same minute, one after
# the other, so that runs never overlap. For containers, where there is no cron.
#
#   loop.sh --repo owner/name --task issue_kind
#
# ISSUETIDE_LOOP_MINUTE  the minute of the hour, 0 to 59 (7). A run that is not done by then skips that hour.
#
# SIGTERM and SIGINT end the run in progress as they would without the loop (what is stored stays), then the loop.
# If the first run ends with 2 (usage) or 3 (configuration), so does the loop: a wrong set-up shows at once. Later ones
# are logged and tried again in the next hour, as every other exit code is.
set -u

minute=${ISSUETIDE_LOOP_MINUTE:-7}
case $minute in
    [0-9] | [0-5][0-9]) minute=${minute#0} ;;
    *)
        echo "loop: ISSUETIDE_LOOP_MINUTE must be 0 to 59, not '$minute'" >&2
        exit 2
        ;;
esac
minute=${minute:-0}
child=
code=0
stopping=no

stop() {
    stopping=yes
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT

# Starts "$@", waits for its end and leaves its exit code in `code`. A signal interrupts `wait` while the child is still
# closing its work; then it is waited for again.
run() {
    "$@" &
    child=$!
    # A signal that came before `child` was known has reached nobody.
    [ "$stopping" = no ] || kill -TERM "$child" 2>/dev/null
    wait "$child"
    code=$?
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        code=$?
    done
    child=
}

first=yes
while [ "$stopping" = no ]; do
    run issuetide run "$@"
    [ "$code" -eq 0 ] || echo "loop: issuetide run ended with exit code $code" >&2
    if [ "$first" = yes ] && { [ "$code" -eq 2 ] || [ "$code" -eq 3 ]; }; then
        exit "$code"
    fi
    first=no
    [ "$stopping" = no ] || break
    now=$(date +%s)
    run sleep "$((3600 - (now - minute * 60) % 3600))"
done
