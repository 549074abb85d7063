"""Classic BPF, the machine that seccomp filters run on: decisions about a call to instructions.

A jump goes forward only, so a program is written from its last instruction to its first: where a
jump leads is known when it is written. Inside this module a position counts from the end.

Side: host
"""

import _struct as struct

from .abi import BPF_AND_K, BPF_JA, BPF_JEQ_K, BPF_JGE_K, BPF_JGT_K, BPF_JSET_K, BPF_LD_W_ABS, BPF_RET_K

# include/uapi/linux/seccomp.h: struct seccomp_data
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_REACH = 255  # a conditional jump skips at most so many instructions
_WORD = 0xFFFFFFFF


class Program:
    """A verdict is an action, or a pair: whether whole arguments are compared (else their low
    halves), and cases, each an action and conditions. The first case whose conditions all hold
    decides; the last case has none. A condition is (argument, comparison, opposite, value, mask).
    """

    def __init__(self, big_endian: bool) -> None:
        self.code = []  # type: list[tuple[int, int, int, int]]
        self.homes = {}  # type: dict[object, int]
        self.low, self.high = (4, 0) if big_endian else (0, 4)

    def __len__(self) -> int:
        return len(self.code)

    def bytes(self) -> "bytes":
        """An array of struct sock_filter."""
        words = []  # type: list[int]
        for instruction in reversed(self.code):
            words += instruction
        return struct.pack("=" + "HBBI" * len(self.code), *words)

    def dispatch(self, blocks: "list[tuple[int, int]]", otherwise: int) -> None:
        """Go by the call's architecture to one of BLOCKS, else take the action OTHERWISE."""
        target = self._leaf(otherwise)
        for architecture, block in blocks:
            target = self._branch(BPF_JEQ_K, architecture, block, target)
        self._load(_ARCHITECTURE)

    def search(self, starts: "list[int]", verdicts: "list[object]") -> int:
        """Find the verdict on a call's number: VERDICTS[i] from STARTS[i] on, which ascend from 0."""
        root = self._tree(starts, verdicts, 0, len(starts))
        return self._load(_NUMBER) if len(starts) > 1 else root

    def _tree(self, starts: "list[int]", verdicts: "list[object]", first: int, end: int) -> int:
        if end - first == 1:
            return self._leaf(verdicts[first])
        middle = (first + end) // 2
        above = self._tree(starts, verdicts, middle, end)
        below = self._tree(starts, verdicts, first, middle)
        return self._branch(BPF_JGE_K, starts[middle], above, below)

    def _leaf(self, verdict) -> int:
        """Where VERDICT is carried out, within reach."""
        home = self.homes.get(verdict)
        if home is None:
            if isinstance(verdict, int):
                self.code.append((BPF_RET_K, 0, 0, verdict))
                home = len(self.code) - 1
            else:
                home = self._cases(*verdict)
        else:
            home = self._near(home)
        self.homes[verdict] = home
        return home

    def _cases(self, wide: bool, cases) -> int:
        target = self._leaf(cases[-1][0])
        for action, conditions in cases[-2::-1]:
            yes = self._leaf(action)
            for condition in reversed(conditions):
                yes = self._test(wide, condition, yes, target)
            target = yes
        return target

    def _test(self, wide: bool, condition, yes: int, no: int) -> int:
        """Go to YES or NO as CONDITION holds. 64 bits are compared half by half, the high one first."""
        argument, comparison, opposite, value, mask = condition
        if opposite:
            yes, no = no, yes
        low, high = _ARGUMENTS + 8 * argument + self.low, _ARGUMENTS + 8 * argument + self.high
        if comparison == BPF_JEQ_K:
            yes = self._equal(low, value & _WORD, mask & _WORD, yes, no)
            return self._equal(high, value >> 32, mask >> 32, yes, no) if wide else yes
        target = self._branch(comparison, value & _WORD, yes, no)
        target = self._load(low)
        if wide:
            target = self._branch(BPF_JEQ_K, value >> 32, target, no)
            target = self._branch(BPF_JGT_K, value >> 32, yes, target)
            target = self._load(high)
        return target

    def _equal(self, offset: int, value: int, mask: int, yes: int, no: int) -> int:
        if mask == 0:
            return yes
        if value & mask == 0:
            self._branch(BPF_JSET_K, mask, no, yes)
        else:
            self._branch(BPF_JEQ_K, value & mask, yes, no)
            if mask != _WORD:
                self.code.append((BPF_AND_K, 0, 0, mask))
        return self._load(offset)

    def _load(self, offset: int) -> int:
        self.code.append((BPF_LD_W_ABS, 0, 0, offset))
        return len(self.code) - 1

    def _branch(self, operation: int, value: int, yes: int, no: int) -> int:
        yes, no = self._near(yes), self._near(no)
        here = len(self.code)
        self.code.append((operation, here - yes - 1, here - no - 1, value))
        return here

    def _near(self, target: int) -> int:
        """TARGET, or a place within reach that leads to it; what is written next may be a jump."""
        distance = len(self.code) - target
        if distance <= _REACH:
            return target
        instruction = self.code[target]
        if instruction[0] != BPF_RET_K:
            instruction = (BPF_JA, 0, 0, distance - 1)
        self.code.append(instruction)
        return len(self.code) - 1
