#!/bin/sh
# Sandboxes that are folders of one machine: `folders.sh VERB HOME …`. Each call is noted in HOME/calls before anything
# else happens. A sandbox is dead when its folder is gone, or when it holds a file `dead` with the reason.
verb=$1
home=$2
id=$3
box=$home/boxes/$id

note() { printf '%s\t%s\n' "$verb" "$id" >>"$home/calls"; }

dead() {
    printf 'dead\t%s\n' "$id" >>"$home/calls"
    echo "a line before" >&2
    echo "OFFLOAD_SANDBOX_DEAD: $1" >&2
    echo "a line after" >&2
    exit 3
}

must_live() {
    [ -d "$box" ] || dead "there is no folder $id"
    [ ! -e "$box/dead" ] || dead "$(cat "$box/dead")"
}

case $verb in
create) # HOME RUN NAME
    run=$3 name=$4
    mkdir -p "$home/boxes"
    id=$(basename "$(mktemp -d "$home/boxes/$run.$name.XXXXXX")")
    note
    echo "$id"
    ;;
exec) # HOME ID COMMAND
    note
    must_live
    cd "$box" && FOLDER=$box exec /bin/sh -c "$4"
    ;;
exec-without-input) # HOME ID COMMAND
    verb=exec
    note
    must_live
    cd "$box" && FOLDER=$box exec /bin/sh -c "$4" </dev/null
    ;;
exec-silent) # HOME ID COMMAND: a backend that does not say why
    verb=exec
    note
    cd "$box" || exit 1
    FOLDER=$box exec /bin/sh -c "$4"
    ;;
exec-watched) # HOME ID COMMAND: as a client that learns by itself that its sandbox is dead, and then goes on trying
    verb=exec
    note
    must_live
    exec 3<&0
    (cd "$box" && FOLDER=$box exec /bin/sh -c "$4") <&3 &
    while kill -0 $! 2>/dev/null; do
        if [ -e "$box/dead" ]; then
            (dead "$(cat "$box/dead")")
            sleep 600
        fi
        sleep 0.05
    done
    wait $!
    ;;
download) # HOME ID REMOTE:LOCAL…
    note
    must_live
    shift 3
    for pair; do cp -R "${pair%%:*}" "${pair#*:}" || exit 1; done
    ;;
upload) # HOME ID LOCAL:REMOTE…
    note
    must_live
    shift 3
    for pair; do
        source=${pair%%:*} target=${pair#*:}
        mkdir -p "$(dirname "$target")" || exit 1
        if [ -d "$source" ]; then mkdir -p "$target" && cp -R "$source/." "$target"; else cp "$source" "$target"; fi || exit 1
    done
    ;;
probe) # HOME ID
    note
    must_live
    ;;
list) # HOME RUN
    note
    for folder in "$home"/boxes/${3:-*}.*; do
        [ -d "$folder" ] || continue
        id=${folder##*/}
        rest=${id#*.}
        echo "$id ${id%%.*} ${rest%%.*}"
    done
    ;;
destroy) # HOME ID
    note
    for process in /proc/[0-9]*; do
        if grep -q -a -x -z -e "FOLDER=$box" "$process/environ" 2>/dev/null; then kill -9 "${process#/proc/}"; fi
    done
    rm -rf "$box" "/tmp/offload-$id"
    ;;
esac
