#!/bin/sh
# The main things once, on whatever this machine is: a minimal host, another kernel or architecture,
# another C library. Needs a Python and a static busybox, and leaves nothing behind.
#
#     tests/smoke.sh [PYTHON]        (python3; as root or as any user)
#     BUSYBOX=PATH                   (found in the PATH)
#
# Prints a line for each thing, and below it what minictr said; the exit status is 0 if all went well.
set -u
python=${1:-python3}
for busybox in "${BUSYBOX:-$(command -v busybox)}" /bin/busybox /usr/bin/busybox; do
    [ -f "$busybox" ] && break  # a shell of busybox has it without a path
done
PYTHONPATH=$(cd "$(dirname "$0")/.." && pwd)
PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE
place=$(mktemp -d) || exit 2
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
failed=0

root=$place/rootfs
for name in bin dev etc mnt proc root sys tmp; do mkdir -p "$root/$name"; done
chmod 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox" || exit 2
for name in sh id cat echo hostname ls ps sleep stat touch true uname grep mount; do
    ln -s busybox "$root/bin/$name"
done
echo root:x:0:0:root:/root:/bin/sh >"$root/etc/passwd"
echo app:x:1:1:app:/:/bin/sh >>"$root/etc/passwd"
echo root:x:0: >"$root/etc/group"

minictr() { "$python" -m minictr --root "$place/state" "$@"; }

# expect NAME STATUS TEXT ARGUMENT...: minictr ends with STATUS, and its output has TEXT in it
expect() {
    name=$1 status=$2 text=$3
    shift 3
    minictr "$@" >"$place/out" 2>"$place/err" </dev/null
    got=$?
    case "$(cat "$place/out")" in *"$text"*) found=1 ;; *) found=0 ;; esac
    if [ "$got" = "$status" ] && [ $found = 1 ]; then
        echo "ok      $name"
    else
        echo "NOT OK  $name: status $got, wanted $status with \"$text\""
        sed 's/^/        out: /' "$place/out"
        failed=1
    fi
    sed 's/^/        /' "$place/err"
}

echo "        $(uname -srm), $("$python" -c 'import sys; print("Python", sys.version.split()[0])'), uid $(id -u)"
expect "version" 0 "minictr version" --version
expect "a directory" 0 "uid=0" run --rootfs "$root" -- id
expect "process 1" 0 "1" run --rootfs "$root" -- sh -c 'echo $$'
expect "its own host name" 0 "inside" run --rootfs "$root" --hostname inside -- hostname
expect "no process of the host's" 0 "1" run --rootfs "$root" -- sh -c 'ls -d /proc/[0-9]* | grep -c 1'
expect "the exit status" 7 "" run --rootfs "$root" -- sh -c 'exit 7'
expect "a signal" 137 "" run --rootfs "$root" -- sh -c 'sh -c "kill -9 \$\$"; exit $?'
expect "no such program" 127 "" run --rootfs "$root" -- no-such-program
expect "read-only" 0 "no" run --rootfs "$root" --read-only -- sh -c 'touch /x 2>/dev/null || echo no'
expect "an overlay, or a warning" 0 "/tmp/x" run --rootfs "$root" --overlay -- sh -c 'touch /tmp/x 2>&1; echo /tmp/x'
expect "the devices" 0 "666 1 3" run --rootfs "$root" -- stat -c '%a %t %T' /dev/null
expect "a volume" 0 "rootfs" run --rootfs "$root" --volume "$place:/mnt:ro" -- ls /mnt
expect "a time of its own" 0 "" run --rootfs "$root" --time-offset 100 -- true
expect "the host's root" 0 "uid=0" run -- id
expect "the host's root is read-only" 0 "no" run -- sh -c 'touch /etc/x 2>/dev/null || echo no'
expect "explain" 0 "clone" explain --rootfs "$root" -- true
if [ "$(id -u)" = 0 ]; then
    expect "another user" 0 "uid=1(app)" run --rootfs "$root" --user app -- id
    expect "without a user namespace" 0 "uid=0" run --userns host --rootfs "$root" -- id
    expect "detached" 0 "alive" run --detach --name alive --rootfs "$root" -- sleep 1000
    expect "in the list" 0 "running" list
    expect "a second program" 0 "sleep 1000" exec alive ps
    expect "stopped" 0 "" stop --time 0 alive
    expect "forgotten" 0 "" delete alive
fi
rootless=
[ "$(id -u)" = 0 ] || rootless=--rootless
if minictr spec $rootless 2>&1 | sed 's/"sh"/"id"/' >"$place/config.json"; then
    expect "a bundle" 0 "uid=0" run --allow-degraded --bundle "$place" bundle
fi
minictr doctor >"$place/out" 2>&1
echo "        doctor: status $?"
sed 's/^/        /' "$place/out"
[ -z "$(ls -A "$place/state" 2>/dev/null)" ] || { echo "NOT OK  something is left:" "$place/state"/*; failed=1; }
exit $failed
