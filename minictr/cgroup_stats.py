"""What a group has used, as `events --stats` of runc prints it (types/events.go there).

Times are nanoseconds, sizes bytes; a limit that is none is 2^64 - 1 for memory and 0 for processes.

Side: host
"""

from . import unix as os

_UNLIMITED = (1 << 64) - 1
_TICK = 10_000_000  # nanoseconds: USER_HZ is 100 on every architecture that Linux still has


def v1(read) -> "dict[str, object]":
    """read(controller, name): the text of a file, "" where there is none"""
    stat = _pairs(read("memory", "memory.stat"))
    return {
        "cpu": _cpu_v1(read),
        "cpuset": _cpuset(lambda name: read("cpuset", "cpuset." + name)),
        "memory": {
            "cache": stat.get("cache", 0),
            "usage": _memory_v1(read, "memory."),
            "swap": _memory_v1(read, "memory.memsw."),
            "kernel": _memory_v1(read, "memory.kmem."),
            "kernelTCP": _memory_v1(read, "memory.kmem.tcp."),
            "raw": stat,
            "event_count": {"oom_kill": _pairs(read("memory", "memory.oom_control")).get("oom_kill", 0)},
        },
        "pids": _pids(lambda name: read("pids", name)),
        "blkio": _blkio_v1(read),
        "hugetlb": {
            size: {
                "usage": _number(read("hugetlb", "hugetlb.%s.usage_in_bytes" % size)),
                "max": _number(read("hugetlb", "hugetlb.%s.max_usage_in_bytes" % size)),
                "failcnt": _number(read("hugetlb", "hugetlb.%s.failcnt" % size)),
            }
            for size in _page_sizes()
            if read("hugetlb", "hugetlb.%s.usage_in_bytes" % size)
        },
        "intel_rdt": {},
        "network_interfaces": None,
    }


def v2(read) -> "dict[str, object]":
    """read(controller, name): the text of a file, "" where there is none"""
    stat, cpu = _pairs(read("", "memory.stat")), _pairs(read("", "cpu.stat"))
    usage, swap = _memory_v2(read, "memory."), _memory_v2(read, "memory.swap.")
    combined = {  # v1 counts memory and swap together, and so does this format
        "limit": _UNLIMITED if swap["limit"] == _UNLIMITED else swap["limit"] + usage["limit"],
        "usage": swap["usage"] + usage["usage"],
        "failcnt": 0,
    }
    memory = {"cache": stat.get("file", 0), "usage": usage, "swap": combined, "raw": stat}
    memory.update(kernel={"limit": 0, "failcnt": 0}, kernelTCP={"limit": 0, "failcnt": 0})
    memory["event_count"] = _pairs(read("", "memory.events"))
    data = {
        "cpu": {
            "usage": {
                "total": 1000 * cpu.get("usage_usec", 0),
                "kernel": 1000 * cpu.get("system_usec", 0),
                "user": 1000 * cpu.get("user_usec", 0),
            },
            "throttling": {
                "periods": cpu.get("nr_periods", 0),
                "throttledPeriods": cpu.get("nr_throttled", 0),
                "throttledTime": 1000 * cpu.get("throttled_usec", 0),
            },
        },
        "cpuset": _cpuset(lambda name: read("", "cpuset.%s.effective" % name)),
        "memory": memory,
        "pids": _pids(lambda name: read("", name)),
        "blkio": _blkio_v2(read),
        "hugetlb": {
            size: {
                "usage": _number(read("", "hugetlb.%s.current" % size)),
                "failcnt": _pairs(read("", "hugetlb.%s.events" % size)).get("max", 0),
            }
            for size in _page_sizes()
            if read("", "hugetlb.%s.current" % size)
        },
        "intel_rdt": {},
    }  # type: dict[str, dict]
    for name, file in (("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("blkio", "io.pressure")):
        pressure = _pressure(read("", file))
        if pressure:
            data[name]["psi"] = pressure
    return dict(data, network_interfaces=None)


def _cpu_v1(read) -> "dict[str, object]":
    stat, times = _pairs(read("cpu", "cpu.stat")), _pairs(read("cpuacct", "cpuacct.stat"))
    usage = {
        "total": _number(read("cpuacct", "cpuacct.usage")),
        "percpu": [int(word) for word in read("cpuacct", "cpuacct.usage_percpu").split()],
        "kernel": _TICK * times.get("system", 0),
        "user": _TICK * times.get("user", 0),
    }
    rows = [line.split() for line in read("cpuacct", "cpuacct.usage_all").splitlines()[1:]]
    usage["percpu_user"] = [int(row[1]) for row in rows if len(row) == 3]
    usage["percpu_kernel"] = [int(row[2]) for row in rows if len(row) == 3]
    throttling = {
        "periods": stat.get("nr_periods", 0),
        "throttledPeriods": stat.get("nr_throttled", 0),
        "throttledTime": stat.get("throttled_time", 0),
    }
    return {"usage": usage, "throttling": throttling}


def _cpuset(read) -> "dict[str, object]":
    found = {"cpus": _list(read("cpus")), "mems": _list(read("mems"))}  # type: dict[str, object]
    for name in (
        "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
        "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
    ):  # fmt: skip
        found[name] = _number(read(name))
    return found


def _memory_v1(read, prefix: str) -> "dict[str, int]":
    names = {
        "limit": "limit_in_bytes", "usage": "usage_in_bytes",
        "max": "max_usage_in_bytes", "failcnt": "failcnt",
    }  # fmt: skip
    return {name: _number(read("memory", prefix + file)) for name, file in names.items()}


def _memory_v2(read, prefix: str) -> "dict[str, int]":
    """The peak is to be had since 5.19, that of swap since 6.5."""
    return {
        "limit": _number(read("", prefix + "max"), _UNLIMITED),
        "usage": _number(read("", prefix + "current")),
        "max": _number(read("", prefix + "peak")),
        "failcnt": 0,
    }


def _pids(read) -> "dict[str, int]":
    return {"current": _number(read("pids.current")), "limit": _number(read("pids.max"))}


def _blkio_v1(read) -> "dict[str, object]":
    """Of the scheduler bfq where it counts, else of the throttling layer."""
    found = {}  # type: dict[str, object]
    files = {"ioServiceBytesRecursive": "io_service_bytes", "ioServicedRecursive": "io_serviced"}
    for name, file in files.items():
        for start in ("blkio.bfq.", "blkio.throttle."):
            entries = []
            for line in read("blkio", start + file + "_recursive").splitlines():
                words = line.replace(":", " ").split()  # "8:0 Read 4096"; at the end "Total 4096"
                if len(words) == 4:
                    major, minor, operation, value = words
                    entry = {"major": int(major), "minor": int(minor), "op": operation, "value": int(value)}
                    entries.append(entry)
            if entries:
                found[name] = entries
                break
    return found


def _blkio_v2(read) -> "dict[str, object]":
    bytes_, operations = [], []  # type: list[dict[str, object]], list[dict[str, object]]
    table = {
        "rbytes": (bytes_, "Read"), "wbytes": (bytes_, "Write"),
        "rios": (operations, "Read"), "wios": (operations, "Write"),
    }  # fmt: skip
    for line in read("", "io.stat").splitlines():  # "8:0 rbytes=4096 wbytes=0 rios=1 ..."
        device, *words = line.split()
        if ":" not in device:
            continue
        major, minor = device.split(":")
        for word in words:
            key, _, value = word.partition("=")
            if key in table:
                entries, operation = table[key]
                entry = {"major": int(major), "minor": int(minor), "op": operation, "value": int(value)}
                entries.append(entry)
    found = {"ioServiceBytesRecursive": bytes_, "ioServicedRecursive": operations}
    return {name: entries for name, entries in found.items() if entries}


def _pressure(text: str) -> "dict[str, dict[str, float]]":
    """Documentation/accounting/psi.rst: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"."""
    found = {}
    for line in text.splitlines():
        kind, *words = line.split()
        pairs = dict(word.split("=") for word in words)
        total = int(pairs.pop("total", 0))
        found[kind] = dict({name: float(value) for name, value in pairs.items()}, total=total)
    return found


def _page_sizes() -> "list[str]":
    """The sizes of huge pages as files of the controller are named after them: "2MB", "1GB"."""
    try:
        names = os.listdir("/sys/kernel/mm/hugepages")
    except FileNotFoundError:
        return []
    found = []
    for name in names:  # hugepages-2048kB
        size = int(name[len("hugepages-") : -len("kB")])
        for unit, shift in (("GB", 20), ("MB", 10), ("KB", 0)):
            if size >> shift:
                found.append("%d%s" % (size >> shift, unit))
                break
    return found


def _pairs(text: str) -> "dict[str, int]":
    """Lines of a name and a number."""
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}


def _number(text: str, otherwise: int = 0) -> int:
    """A number, or OTHERWISE for "max" and for nothing."""
    words = text.split()
    return int(words[0]) if words and words[0] != "max" else otherwise


def _list(text: str) -> "list[int]":
    """ "0-2,5" as numbers."""
    found = []  # type: list[int]
    for word in text.strip().split(",") if text.strip() else ():
        first, _, last = word.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
