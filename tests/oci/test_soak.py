"""Many containers at a time, and runtimes that are killed in the midst of their work."""

import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time

from support import CHECKOUT, MARK, PATH, SESSION, needs

from minictr import spec

pytestmark = needs("root", "busybox", "cgroup")

COUNT, WORKERS = 100, 4
MURDERS = 0.3  # of all commands


class Crowd:
    """Containers made, started, listed, killed and deleted, a few at a time.

    failed: what went wrong of a container of which no command was killed; killed: how many commands were
    """

    def __init__(self, state, root, place, seed):
        self.state, self.random = state, random.Random(seed)
        self.failed, self.killed = [], 0
        self.lock, self.todo = threading.Lock(), queue.Queue()
        for number in range(COUNT):
            self.todo.put(
                (self._bundle(root, place, number), "minictr-test-soak-%d-%d" % (os.getpid(), number))
            )

    def _bundle(self, root, place, number):
        bundle = os.path.join(place, str(number))
        os.mkdir(bundle)
        config = spec.default_config(["sleep", "1000"], root)
        with open(bundle + "/config.json", "w") as file:
            json.dump(config, file)
        return bundle

    def run(self):
        threads = [threading.Thread(target=self._work) for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self):
        while True:
            try:
                bundle, name = self.todo.get_nowait()
            except queue.Empty:
                return
            calls = [("create", "--bundle", bundle, name), ("start", name), ("list",), ("state", name)]
            calls += [("kill", name, "KILL"), ("delete", "--force", name)]
            results = [self.command(*call) for call in calls]
            if "murdered" not in results and any(results):
                with self.lock:
                    self.failed.append((name, results))

    def command(self, *words):
        """ "" if it went well, "murdered", or what it said."""
        with self.lock:
            murder = self.random.random() < MURDERS
            moment = self.random.uniform(0, 0.08)
        command = [sys.executable, "-m", "minictr", "--root", self.state] + list(words)
        env = {"PATH": PATH, "PYTHONPATH": CHECKOUT, MARK: SESSION.directory}
        # the container keeps these streams: a pipe would be waited for until its end
        with open(os.path.join(self.state + "-said", words[0] + words[-1].replace("/", "")), "wb+") as said:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=env)
            if murder:
                time.sleep(moment)
                if process.poll() is None:
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                    with self.lock:
                        self.killed += 1
                    return "murdered"
            status = process.wait(60)
            said.seek(0)
            return said.read().decode() or "status %d" % status if status else ""


def test_a_hundred_containers_and_killed_runtimes_leave_nothing(minictr, busybox_root, tmp_path):
    state, seed = minictr.state(), random.randrange(1 << 30)
    os.mkdir(state + "-said")
    crowd = Crowd(state, busybox_root, str(tmp_path), seed)
    try:
        crowd.run()
        assert crowd.failed == [], "seed %d" % seed
        assert crowd.killed > COUNT // 10
    finally:
        left = minictr("list", "--quiet").lines
        if left:
            assert minictr("delete", "--force", *left).ok
    assert minictr("list", "--quiet") == (0, "", "")
    assert os.listdir(state) == []
