"""What other tools call otherwise, or have and we have not: podman, docker, runc, crun, bubblewrap,
systemd-nspawn, unshare, firejail, nsjail. Looked at where a word was not known, never before.

Side: host
"""

# Verbs, and what does it here
_IMAGES = "there are no images: run --rootfs DIR"
_NETWORKS = "networks are not set up: run --net host, or --net ns:PATH"
VERBS = {
    "inspect": "minictr state", "logs": "run --log-file keeps what is printed", "rm": "minictr delete",
    "unpause": "minictr resume", "top": "minictr ps", "ls": "minictr list",
    "restart": "minictr stop, then run",
    "attach": "run without --detach; exec starts a further program", "cp": "run --volume shows files inside",
    "wait": "run without --detach waits; state --quiet tells whether it runs",
    "container": "the verbs stand by themselves: minictr list", "info": "minictr doctor",
    "system": "minictr doctor", "port": _NETWORKS, "network": _NETWORKS,
    "volume": "volumes with a name are not supported: run --volume SRC:DST",
    "rename": "run --name chooses the id",
    "diff": "run --overlay throws changes away; a --rootfs DIR keeps them",
    "export": "the files of --rootfs DIR are there as they are: tar -C DIR -c .",
    "shell": "minictr run -- sh, or minictr exec ID sh", "enter": "minictr exec ID sh",
}  # fmt: skip
VERBS.update(
    dict.fromkeys(
        "pull push build images image rmi tag commit history load save import search".split(), _IMAGES
    )
)

# Our own that stand before the verb, with what follows them
GLOBALS = {
    "--root": " DIR", "--log": " FILE", "--log-format": " text|json", "--debug": "", "--systemd-cgroup": "",
    "--cgroup-manager": " MANAGER", "--rootless": " auto", "--criu": " PATH",
}  # fmt: skip

_OWN = "the container has its own anyway"
_NEW = "every namespace but the clock's is a new one anyway"
_NOT = "not supported"
_HERE = "is called otherwise here"

# Options of `run`: names, why not, hint
OPTIONS = (
    # podman's and docker's
    ("--kernel-memory", "Linux 5.16 has it no more: --memory counts that of the kernel too", ""),
    ("--entrypoint", "the words after -- are the whole command", ""),
    (
        """--add-host --dns --dns-opt --dns-option --dns-search --no-hosts --no-hostname --hosts-file --passwd
        --passwd-entry --resolv-conf --timezone""",
        "the container's files are left as they are",
        "mount one over with --volume",
    ),
    ("--tz", "the container's files are left as they are", "--env TZ=ZONE"),
    (
        """-p --publish -P --publish-all --expose --ip --ip6 --mac-address --network-alias --link
        --link-local-ip --port --network-veth --network-bridge --network-zone""",
        "networks are not set up",
        "--net host, or --net ns:PATH",
    ),
    (
        """--restart --health-cmd --health-interval --health-retries --health-timeout --health-start-period
        --health-start-interval --health-on-failure --no-healthcheck""",
        "nothing stays resident to watch it",
        "let the init system do it",
    ),
    ("--volumes-from --volume-driver", "volumes with a name are not supported", "--volume with a path"),
    (
        """--pull --platform --arch --os --variant --image-volume --quiet -q --disable-content-trust
        --authfile --tls-verify --rmi --image""",
        "names of images are not supported",
        "use --rootfs DIR",
    ),
    ("-l --label --label-file", _NOT, "--annotation NAME=VALUE is"),
    ("--pod-id-file", _NOT, "--name chooses the id, --pid-file has the process"),
    ("--stop-timeout", _NOT, "minictr stop --time SECONDS ID"),
    ("--log-driver --log-opt", _NOT, "--log-file FILE"),
    (
        "--sdnotify --notify-ready",
        _NOT,
        "--cgroups disabled --volume $NOTIFY_SOCKET:/run/notify --env NOTIFY_SOCKET=/run/notify",
    ),
    ("--replace", _NOT, "minictr delete --force ID before it"),
    ("--env-host --http-proxy", _NOT, "--env NAME takes the caller's, --env '*' all of them"),
    ("--env-merge --unsetenv --unsetenv-all", _NOT, "start the program by env(1)"),
    ("--subuidname --subgidname", _NOT, "--uidmap and --gidmap name the ranges"),
    ("--conmon-pidfile", "no process stands beside the container", "--pid-file FILE"),
    ("--cpu-count --cpu-percent", "is for Windows", "--cpus NUMBER"),
    ("--gpus", _NOT, "--device for each of its devices, --volume for the files of its driver"),
    (
        """-a --attach --detach-keys --isolation --pod --requires --runtime --secret --sig-proxy
        --storage-opt --use-api-socket --rootfs-propagation --chrootdirs --hostuser --init-path
        --seccomp-policy""",
        _NOT,
        "",
    ),
    # crun's
    ("-f --config", _NOT, "--bundle DIR, in which it is config.json"),
    # those of bubblewrap, systemd-nspawn, unshare, firejail and nsjail
    ("--bind --bind-try --bind-fd --bindmount -B --whitelist", _HERE, "--volume SRC:DST"),
    ("--ro-bind --ro-bind-try --ro-bind-fd --bind-ro --bindmount_ro -R", _HERE, "--volume SRC:DST:ro"),
    ("--dev-bind --dev-bind-try", _HERE, "--device PATH, or --volume SRC:DST:dev"),
    ("--chdir --cwd --working-dir --wd", _HERE, "--workdir DIR"),
    ("-D --directory --chroot", _HERE, "--rootfs DIR"),
    ("--setenv --environment", _HERE, "--env NAME=VALUE"),
    ("--clearenv", "the caller's environment does not come in anyway", "leave it out"),
    ("--uid --gid --setuid --setgid -S -G", _HERE, "--user UID:GID"),
    ("--remount-ro", _HERE, "--read-only, or the option ro of a volume"),
    ("--dev --proc --mqueue --mount-proc --private-dev --private-tmp", _OWN, "leave it out"),
    (
        """--unshare-all --unshare-user --unshare-user-try --unshare-ipc --unshare-pid --unshare-net
        --unshare-uts --unshare-cgroup --unshare-cgroup-try --private-network --private-users -U""",
        _NEW,
        "leave it out",
    ),
    (
        "-r --map-root-user --map-auto",
        "root and a range of ids are mapped anyway",
        "leave it out",
    ),
    ("--map-current-user", _HERE, "--userns keep-id"),
    ("--map-user --map-users --map-group --map-groups", _HERE, "--uidmap and --gidmap INSIDE:HOST:SIZE"),
    ("--share-net --disable_clone_newnet -N", _HERE, "--net host"),
    ("--userns2 --pidns", _HERE, "--userns ns:PATH, --pid ns:PATH"),
    (
        "--disable-userns --assert-userns-disabled",
        "the filter of system calls does so anyway",
        "leave it out",
    ),
    (
        "--die-with-parent --kill-child",
        "a container in the foreground ends with minictr anyway",
        "leave it out",
    ),
    ("--new-session", "the caller's terminal is out of reach anyway", "leave it out"),
    ("--as-pid-1 --fork", "the program is process 1 anyway", "leave it out"),
    ("--as-pid2", _HERE, "--init"),
    ("--boot", _HERE, "-- /sbin/init"),
    ("-x --ephemeral --volatile", _HERE, "--overlay"),
    ("-M --machine", _HERE, "--name ID"),
    ("--inaccessible --blacklist", _HERE, "--security-opt mask=PATH"),
    ("--capability --keep-caps", _HERE, "--cap-add NAME"),
    ("--drop-capability", _HERE, "--cap-drop NAME"),
    ("--no-new-privileges --no-new-privs --nonewprivs", "they cannot be gained anyway", "leave it out"),
    ("--kill-signal", _HERE, "--stop-signal SIGNAL"),
    ("--slice", _HERE, "--cgroup-parent SLICE, with minictr --systemd-cgroup"),
    ("--rlimit", _HERE, "--ulimit NAME=SOFT:HARD"),
    ("--time_limit", _HERE, "--timeout SECONDS"),
    ("--monotonic --boottime", _HERE, "--time-offset monotonic=SECONDS, boottime=SECONDS"),
    ("--seccomp --add-seccomp-fd --system-call-filter", _HERE, "--security-opt seccomp=FILE"),
    (
        "--exec-label --file-label",
        _HERE,
        "--security-opt label=type:TYPE, filetype:TYPE",
    ),
    ("--perms --size", _HERE, "--tmpfs DST:mode=OCTAL,size=SIZE"),
    (
        "--dir --file --bind-data --ro-bind-data --symlink --chmod",
        "files are not made",
        "--volume shows some of the host's",
    ),
    ("--shell", "there is no shell between", "-- sh -c 'COMMAND ...'"),
)


def option(name: str) -> "tuple[str, str] | None":
    """Why NAME is no option of `run`, and what is; None for what no other tool has either."""
    for names, why, hint in OPTIONS:
        if name in names.split():
            return why, hint
    return None


def before(name: str, verb: str) -> str:
    """The hint at one of our own that stands before the verb; "" for another."""
    if name not in GLOBALS:
        return ""
    return "it stands before the verb: minictr %s%s %s" % (name, GLOBALS[name], verb)
