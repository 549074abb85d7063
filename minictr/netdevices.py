"""linux.netDevices: network devices of the host, moved into the container's network namespace.

A device keeps its settings, but the kernel takes its addresses away on the move: those that are permanent and
of global scope are given again. It is never moved back once the container runs: that is the kernel's, which
brings physical devices back and destroys the others when their namespace ends. A start that fails, though,
brings back what it took.

Sources: runtime-spec config-linux.md "Network Devices"; rtnetlink(7), netlink(7);
include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h

Side: host
"""

import _socket  # 0.2 ms
import _struct as struct
import os

from . import abi, host, libc
from .errors import ContainerError, printable, step

# include/uapi/linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h
_REQUEST, _ACK, _DUMP, _EXCL, _CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
_ERROR, _DONE = 2, 3
_NEWLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 18, 20, 22
_IFLA_IFNAME, _IFLA_NET_NS_FD, _IFLA_NEW_IFINDEX = 3, 28, 49
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_IFA_F_PERMANENT = 0x80
_SCOPE_UNIVERSE = 0
_LINK, _ADDRESS = struct.Struct("=BxHiII"), struct.Struct("=BBBBi")  # struct ifinfomsg, ifaddrmsg
IFNAMSIZ = 16


def wrong(devices: "dict[str, dict]") -> "tuple[str, str] | None":
    """What is wrong with linux.netDevices: where, and why."""
    for name, value in devices.items():
        where = "linux.netDevices." + printable(name)
        new = (value or {}).get("name") or name
        if not _is_name(name) or "%" in name:
            return where, "is not the name of a network device"
        if not _is_name(new) or new.count("%") != new.count("%d") or new.count("%") > 1:
            return where + ".name", "is not the name of a network device, nor one with a %d for a number"
    return None


def _is_name(name: str) -> bool:
    """dev_valid_name() in net/core/dev.c"""
    odd = any(char in "/:" or char.isspace() for char in name)
    return 0 < len(os.fsencode(name)) < IFNAMSIZ and name not in (".", "..") and not odd


class Moved:
    """The devices that have been moved into the network namespace of process PID.

    proc: from paths.open_proc
    """

    def __init__(self, proc: int, pid: int) -> None:
        self.devices = []  # type: list[tuple[str, Device, int]]  # name before, as it was, index now
        with step("open the network namespaces"):
            self.own = os.open("thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
            self.target = os.open("%d/ns/net" % pid, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        if os.fstat(self.own).st_ino == os.fstat(self.target).st_ino:
            hint = 'add {"type": "network"} to linux.namespaces'
            raise ContainerError("move network devices", "the container has no network of its own", hint=hint)
        self.here = Link()
        self.there = self._inside()

    def _inside(self) -> "Link":
        """A socket belongs to the namespace it was made in, wherever we go afterwards."""
        with step("enter the container's network namespace"):
            libc.setns(self.target, abi.CLONE_NEWNET)
        try:
            return Link()
        finally:
            libc.setns(self.own, abi.CLONE_NEWNET)

    def take(self, name: str, new: str) -> None:
        """Move the device NAME, which is then called NEW."""
        doing = "move the network device %s into the container" % printable(name)
        hints = {
            abi.EPERM: "it takes CAP_NET_ADMIN over the network that the device is in",
            abi.EEXIST: "the container has a device %s" % printable(new),
            abi.EINVAL: "the kernel moves no device of this kind",
        }
        with step(doing, hints):
            device = self.here.find(name)
            if device is None:
                raise ContainerError(doing, "there is no such device")
            if "%" not in new and self.there.find(new) is not None:
                raise ContainerError(doing, "the container has a device %s" % printable(new))
            index = _move(self.here, device.index, self.target, self.there, new, device.index)
            self.devices.append((name, device, index))
            self.there.restore(index, device.addresses, up=True)

    def give_back(self) -> None:
        """The start has failed: as if nothing had happened, but for routes."""
        while self.devices:
            name, device, index = self.devices.pop()
            with step("give the network device %s back" % printable(name)):
                again = _move(self.there, index, self.own, self.here, name, device.index)
                self.here.restore(again, device.addresses, up=device.up)

    def close(self) -> None:
        """Let go of the namespace, which must end with the container."""
        for link in (self.here, self.there):
            link.sock.close()
        for descriptor in (self.own, self.target):
            os.close(descriptor)


def _move(source: "Link", index: int, namespace: int, target: "Link", name: str, wanted: int) -> int:
    """A device from SOURCE to TARGET, whose network namespace is NAMESPACE; its index there, which is WANTED
    if that is free.

    Others may make and rename devices in there at the same time: by its index we know it again.
    """
    before = target.indexes()
    if wanted in before:
        wanted = max(before | {index}) + 1
    source.move(index, namespace, name, wanted)
    if host.kernel() >= (5, 13):  # which has done as it was told
        return wanted
    found = target.indexes() - before
    if len(found) != 1:
        raise ContainerError("find the device again", "others have made devices there at the same time")
    return found.pop()


class Device:
    """index; up: whether it was; addresses: messages that give them again, for whatever index"""

    def __init__(self, index: int, up: bool, addresses: "list[tuple[int, int, dict[int, bytes]]]") -> None:
        self.index, self.up, self.addresses = index, up, addresses


class Link:
    """A socket to the network devices of one namespace."""

    def __init__(self) -> None:
        with step("open a socket for network devices"):
            kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
            self.sock = _socket.socket(abi.AF_NETLINK, kind, 0)  # NETLINK_ROUTE
            self.sock.bind((0, 0))
        self.sequence = 0

    def find(self, name: str) -> "Device | None":
        try:
            answer = self._ask(_GETLINK, _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_IFNAME, _name(name)))
        except OSError as error:
            if error.errno == abi.ENODEV:
                return None
            raise
        _, _, index, flags, _ = _LINK.unpack_from(answer[0])
        return Device(index, bool(flags & abi.IFF_UP), self._addresses(index))

    def indexes(self) -> "set[int]":
        found = self._ask(_GETLINK, _LINK.pack(0, 0, 0, 0, 0), _DUMP)
        return {_LINK.unpack_from(message)[2] for message in found}

    def _addresses(self, index: int) -> "list[tuple[int, int, dict[int, bytes]]]":
        kept = []
        for message in self._ask(_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0), _DUMP):
            family, length, flags, scope, of = _ADDRESS.unpack_from(message)
            fields = _attributes(message[_ADDRESS.size :])
            if _IFA_FLAGS in fields:
                flags = struct.unpack("=I", fields[_IFA_FLAGS])[0]
            if of == index and scope == _SCOPE_UNIVERSE and flags & _IFA_F_PERMANENT:
                again = {
                    key: fields[key] for key in (_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST) if key in fields
                }
                kept.append((family, length, again))
        return kept

    def move(self, index: int, namespace: int, name: str, new: int) -> None:
        """Down, into NAMESPACE, and NAME from then on, in one request: that name may be taken here. new: its
        index there, since Linux 5.13"""
        head = _LINK.pack(0, 0, index, 0, abi.IFF_UP)
        words = _attribute(_IFLA_NET_NS_FD, struct.pack("=I", namespace))
        words += _attribute(_IFLA_NEW_IFINDEX, struct.pack("=i", new))
        self._ask(_NEWLINK, head + words + _attribute(_IFLA_IFNAME, _name(name)), _ACK)

    def restore(self, index: int, addresses, up: bool) -> None:
        for family, length, fields in addresses:
            words = b"".join([_attribute(key, value) for key, value in fields.items()])
            head = _ADDRESS.pack(family, length, 0, _SCOPE_UNIVERSE, index)
            self._ask(_NEWADDR, head + words, _ACK | _CREATE | _EXCL)
        if up:
            self._ask(_NEWLINK, _LINK.pack(0, 0, index, abi.IFF_UP, abi.IFF_UP), _ACK)

    def _ask(self, kind: int, body: bytes, flags: int = 0) -> "list[bytes]":
        """The bodies of the answers, [] for a mere acknowledgement. Raises OSError."""
        self.sequence += 1
        head = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | flags, self.sequence, 0)
        self.sock.send(head + body)
        found = []  # type: list[bytes]
        while True:
            data = self.sock.recv(1 << 17)
            while data:
                length, kind, _, sequence, _ = struct.unpack_from("=IHHII", data)
                message, data = data[16:length], data[(length + 3) & ~3 :]
                if sequence != self.sequence:
                    continue
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", message)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return found
                found.append(message)
                if not flags & (_DUMP | _ACK):
                    return found


def _name(name: str) -> bytes:
    return os.fsencode(name) + b"\0"


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> "dict[int, bytes]":
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found
