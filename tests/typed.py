"""A program that uses the library, whose types `make lint` checks as mypy --strict does; nobody runs it."""

import subprocess
from typing import List, Optional

import minictr


def words(rootfs: str) -> List[str]:
    done = minictr.run(["ls"], rootfs=rootfs, capture_output=True, text=True)
    status = done.returncode  # type: int
    found = done.stdout.split() if status == 0 else []  # type: List[str]
    return found


def talk(rootfs: str) -> Optional[int]:
    with minictr.Container(["cat"], stdin=minictr.PIPE, stdout=minictr.PIPE, rootfs=rootfs) as box:
        assert box.stdin is not None and box.stdout is not None
        box.stdin.write(b"this")
        box.stdin.close()
        line = box.stdout.readline()  # type: bytes
        print(line, [lost.code for lost in box.degradations])
        return box.wait(timeout=5).returncode


def fail(rootfs: str) -> List[str]:
    try:
        minictr.run(["true"], rootfs=rootfs, check=True, strict=True, stdout=subprocess.DEVNULL)
        minictr.rnu(["true"])  # type: ignore[attr-defined]
    except minictr.CalledProcessError as error:
        print(error.completed.signal)
    except minictr.IsolationError as error:
        return [lost.lost for lost in error.degradations] + list(error.warnings)
    return []
