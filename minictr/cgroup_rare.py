"""Limits that few ask for: of block devices, huge pages, network packets and RDMA; and of v2 any file by its
name. From linux.resources to files, as in cgroup_v1 and cgroup_v2.

Side: host
"""

from .cgroup_settings import Setting, ignored
from .errors import ContainerError, Degradation, printable

# The property of blockIO; its file on v1; its key in io.max
_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)


def v1(resources: "dict") -> "list[Setting]":
    """What RESOURCES has of these, in the order of cgroup_settings.RARE. `unified` is none of v1's."""
    return (
        _block_io_v1(resources.get("blockIO") or {})
        + _huge_pages(resources.get("hugepageLimits") or (), "limit_in_bytes")
        + _network(resources.get("network") or {})
        + _rdma(resources.get("rdma") or {})
    )


def v2(resources: "dict", records: "list[Degradation]", read) -> "list[Setting]":
    """The same; what has no file here is added to RECORDS. read: cgroup_group.Group.read"""
    found = _block_io_v2(resources.get("blockIO") or {}, records, read)
    found += _huge_pages(resources.get("hugepageLimits") or (), "max")
    network = resources.get("network") or {}
    for name in ("classID", "priorities"):
        if network.get(name):
            lost = "its packets carry no such mark, and rules for it do not match"
            records.append(ignored("network " + name, network[name], lost))
    return found + _rdma(resources.get("rdma") or {}) + _unified(resources.get("unified") or {})


def _block_io_v1(wanted: "dict") -> "list[Setting]":
    """weight: 10 to 1000; rate: bytes or operations a second, 0 for no limit"""
    found = []
    leaf = "its own processes weigh as much as cgroups below it"  # gone with the scheduler cfq, in 5.0
    if wanted.get("weight"):
        found.append(Setting("blkio", "blkio.weight blkio.bfq.weight", wanted["weight"]))
    if wanted.get("leafWeight"):
        found.append(Setting("blkio", "blkio.leaf_weight", wanted["leafWeight"], leaf))
    for each in wanted.get("weightDevice") or ():
        device = "%d:%d " % (each["major"], each["minor"])
        if each.get("weight"):
            names = "blkio.weight_device blkio.bfq.weight_device"
            found.append(Setting("blkio", names, device + str(each["weight"])))
        if each.get("leafWeight"):
            found.append(Setting("blkio", "blkio.leaf_weight_device", device + str(each["leafWeight"]), leaf))
    for name, file, _ in _THROTTLES:
        for each in wanted.get(name) or ():
            value = "%d:%d %d" % (each["major"], each["minor"], each["rate"])
            found.append(Setting("blkio", file, value))
    return found


def io_weight(weight: int) -> int:
    """blkio.weight of v1 (10 to 1000) as io.weight (1 to 10000). Source: crun.1.md "IO controller"."""
    return 1 + (weight - 10) * 9999 // 990


def _block_io_v2(wanted: "dict", records: "list[Degradation]", read) -> "list[Setting]":
    """weight: 10 to 1000; rate: bytes or operations a second, 0 for no limit"""
    found = []
    bfq = bool(read("io", "io.bfq.weight"))  # of the scheduler bfq, with weights as in v1
    for each in [wanted] + list(wanted.get("weightDevice") or ()):
        device = "%d:%d " % (each["major"], each["minor"]) if "major" in each else ""
        if each.get("weight"):
            value = each["weight"] if bfq else io_weight(each["weight"])
            found.append(Setting("io", "io.bfq.weight" if bfq else "io.weight", device + str(value)))
        if each.get("leafWeight"):
            lost = "its own processes weigh as much as cgroups below it"
            records.append(ignored("blockIO leafWeight", each["leafWeight"], lost))
    for name, _, key in _THROTTLES:
        for each in wanted.get(name) or ():
            value = "%d:%d %s=%s" % (each["major"], each["minor"], key, each["rate"] or "max")
            found.append(Setting("io", "io.max", value))
    return found


def _huge_pages(wanted, word: str) -> "list[Setting]":
    """WORD: how the files end."""
    found = []
    for each in wanted:
        name = "hugetlb." + _plain(each["pageSize"])
        found.append(Setting("hugetlb", "%s.%s" % (name, word), each["limit"]))
        found.append(Setting("hugetlb", "%s.rsvd.%s" % (name, word), each["limit"], ""))  # since 5.7
    return found


def _network(wanted: "dict") -> "list[Setting]":
    found = []
    if wanted.get("classID"):
        found.append(Setting("net_cls", "net_cls.classid", wanted["classID"]))
    for each in wanted.get("priorities") or ():
        value = "%s %d" % (_plain(each["name"]), each["priority"])
        found.append(Setting("net_prio", "net_prio.ifpriomap", value))
    return found


def _rdma(wanted: "dict") -> "list[Setting]":
    """Both versions have the same file (Documentation/admin-guide/cgroup-v1/rdma.rst)."""
    found = []
    for device, each in wanted.items():
        words = [_plain(device)]
        for name, word in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")):
            if each.get(name) is not None:
                words.append("%s=%d" % (word, each[name]))
        found.append(Setting("rdma", "rdma.max", " ".join(words)))
    return found


def _plain(name: str) -> str:
    """NAME, if it can be a part of a file's name or of a line."""
    if "/" in name or len(name.split()) != 1 or not name.isprintable():
        raise ContainerError("set linux.resources", "%r is no plain name" % name)
    return name


def _unified(wanted: "dict") -> "list[Setting]":
    """Any file, a line at a time; but not those that move processes."""
    found = []
    for name, value in wanted.items():
        plain = "/" not in name and "\0" not in name and "." in name.strip(".") and len(name.split()) == 1
        doing = "set %s" % (printable(name) or "''")
        if not plain or name in ("cgroup.procs", "cgroup.threads"):
            why = "it is no file name of the form CONTROLLER.SETTING, or one for processes"
            raise ContainerError(doing, why)
        if name in ("cgroup.freeze", "cgroup.kill"):  # with which a start would never end, or at once
            raise ContainerError(doing, "it is no limit", hint="minictr pause, resume, kill")
        found += [Setting("", name, line) for line in str(value).strip("\n").split("\n")]
    return found
