"""What a bad input may do: end in one clear line, and nothing to the host."""

import os


def refused(run, why, statuses=(123, 125, 126, 127)):
    """Whether RUN ended by an error of ours, on one line that says WHY."""
    assert run.status in statuses and run.out == "", run
    assert run.err.startswith("minictr: ") and run.err.count("\n") == 1, run
    assert why in run.err, run
    return True


class Canary:
    """A directory of the host's that must stay as it is."""

    def __init__(self, path):
        self.path = path
        self.before = self.look()

    def look(self):
        found = []
        for folder, directories, names in os.walk(self.path):
            for name in [""] + directories + names:
                entry = os.lstat(os.path.join(folder, name))
                found.append((folder, name, entry.st_mode, entry.st_uid, entry.st_gid, entry.st_mtime_ns))
        return found

    @property
    def untouched(self):
        return self.look() == self.before
