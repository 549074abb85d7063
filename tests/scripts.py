"""Programs that use minictr as a library, run as somebody: what they all begin with."""

import stat
import textwrap

import support

HEAD = """\
import glob, os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
import minictr
os.environ["ONLY"] = str(os.getpid())
STATE, ROOT = sys.argv[2:4]
WHERE = {"root": STATE, "rootfs": ROOT}

def run(*words, **options):
    return minictr.run(words, **dict(WHERE, **options))

def sh(script, **options):
    return run("sh", "-c", script, **options)

def look():
    # whatever a library could leave behind in the process that called it
    mask = os.umask(0)
    os.umask(mask)
    with open("/proc/self/status") as file:
        names = ("SigBlk", "SigIgn", "SigCgt", "Threads", "Uid", "Gid", "CapEff", "NoNewPrivs", "Seccomp")
        lines = [line for line in file if line.split(":")[0] in names]
    handlers = [signal.getsignal(number) for number in range(1, signal.NSIG) if number not in (32, 33)]
    reaper = ctypes_subreaper()
    return handlers, lines, os.getcwd(), dict(os.environ), mask, reaper, sorted(os.listdir("/proc/self/fd"))

def helpers():
    # this process's helper and its workers
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path) as file, open(path[:-4] + "environ", "rb") as variables:
                ours = b"ONLY=%d\\0" % os.getpid() in variables.read()
                if ours and file.read() == "minictr-helper\\n":
                    found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return sorted(found)

def ctypes_subreaper():
    import ctypes
    value = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(37, ctypes.byref(value), 0, 0, 0)  # PR_GET_CHILD_SUBREAPER
    return value.value

def no_child():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False

"""


def runner(minictr, root, place):
    """Runs a program as somebody: library(text, caller) is its Result, start=True the Live.

    minictr: a Runner; root: a root file system; place: a Path, the program's
    words: what it has as sys.argv[4:]; name: of its file; reachable: by a Python that everybody can run
    """

    def call(text, caller=None, *words, reachable=False, start=False, name="script.py", **options):
        script = place / name
        script.write_text(HEAD + textwrap.dedent(text))
        script.chmod(stat.S_IMODE(0o644))
        account = caller.account if caller else None
        if caller:
            options = dict(caller.options, **options)
        python = support.python() if account or reachable else support.sys.executable
        package = support.checkout() if account or reachable else support.CHECKOUT
        command = (python, str(script), package, minictr.state(account), root) + words
        live = minictr.start_command(*command, **options)
        return live if start else live.wait()

    call.root = root
    return call
