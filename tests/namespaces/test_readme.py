"""What the README shows to be copied is run as it stands there."""

import os
import re

import pytest
import support
from support import needs

from minictr import cli, options

WEB = "busybox httpd -f -p 8080 -h /"


def block(after):
    """The code block that follows the comment AFTER in the README."""
    with open(os.path.join(support.CHECKOUT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    return re.search(re.escape(after) + r"\n```\w*\n(.*?)```", text, re.S).group(1)


@pytest.fixture
def service(minictr, busybox_root, tmp_path):
    """The init script, as a function of its argument."""
    script = tmp_path / "web"
    script.write_text(block("<!-- a test runs this script -->"))
    script.chmod(0o755)
    environment = {
        "MINICTR": "%s -m minictr --root %s" % (support.python(), minictr.state()),
        "PYTHONPATH": support.checkout(),
        "ROOTFS": str(busybox_root),
        "COMMAND": WEB,
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    yield lambda verb: minictr.command("sh", str(script), verb, env=environment)
    minictr("delete", "--force", "web")


@needs("root", "busybox")
def test_the_init_script_starts_asks_after_restarts_and_stops_the_container(service):
    assert service("status").status == 3
    assert service("start") == (0, "")
    assert service("status") == (0, "web is running\n")
    assert service("start").status == 0, "to start what runs is no error"
    assert service("restart").status == 0
    assert service("status").status == 0
    assert service("stop").status == 0
    assert service("status").status == 3
    assert service("stop").status == 0, "to stop what is stopped is no error"
    assert service("nonsense").status == 2


@needs("root", "busybox")
def test_the_line_for_busybox_init_is_a_command_that_serves(minictr, busybox_root):
    line = block("<!-- a test runs this line -->").strip()
    runlevel, process, action, command = line.split(":", 3)
    assert (runlevel, process, action) == ("", "", "respawn")
    words = command.split()
    assert words[0] == "/usr/local/bin/minictr"
    words[words.index("/srv/web")] = str(busybox_root)
    start = words.index("--") + 1
    live = minictr.start(*(words[1:start] + ["busybox"] + words[start:]))
    support.wait_until(lambda: b"httpd" in command_line_of_children(live.pid), what="httpd runs")
    live.signal(15)
    assert live.wait().status == 128 + 15


def command_line_of_children(pid):
    """The command lines of all processes below PID, joined."""
    found = b""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
                if parent == pid:
                    with open("/proc/%s/cmdline" % name, "rb") as file:
                        found += file.read()
                    found += command_line_of_children(int(name))
            except OSError:
                pass  # it ended while we looked
    return found


@needs("busybox")
def test_the_first_command_of_the_readme_runs_without_any_download(minictr):
    assert minictr("run", "--", "sh", "-c", "echo inside") == (0, "inside\n")


@needs("root", "busybox")
def test_the_program_in_python_runs_as_it_stands(minictr, busybox_copy, tmp_path):
    (tmp_path / "message").write_text("of the host")
    text = block("<!-- a test runs this program -->")
    for place, real in (("/srv/debian", busybox_copy()), ("/srv/data", str(tmp_path))):
        assert place in text
        text = text.replace(place, real)
    text = text.replace("rootfs=", "root=%r, rootfs=" % minictr.state())
    for call in ('get("server"', "containers("):
        assert call + ")" in text
        text = text.replace(call, call + ", root=%r" % minictr.state()).replace("(, ", "(")
    found = minictr.command(support.sys.executable, "-c", text, env={"PYTHONPATH": support.CHECKOUT})
    lines = found.ok.lines
    assert lines[:2] == ["box", "of the host 0 None False"]
    assert lines[2] == "b'7\\n'" and lines[3].startswith("worker ") and lines[3].endswith(" running")
    assert lines[4] == "9"
    assert lines[5:] == ["running ['sleep', '1000']", str(-9 if support.exit_told() else None), "[]"]


# Options that the README names of other programs, and those that it says to be missing
FOREIGN = {
    "--kernel", "--runc-binary", "--runtime", "--runtime-flag", "--kernel-memory", "--l3-cache-schema",
    "--mem-bw-schema", "--preserve-fd",
}  # fmt: skip


def test_every_option_is_in_the_readme_and_the_readme_has_no_other(capsys):
    with open(os.path.join(support.CHECKOUT, "README.md"), encoding="utf-8") as file:
        told = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", file.read()))
    for row in options.OPTIONS:
        assert len(row) == 1 or told & set(row[0].split(", ")), row[0]
    for verb in set(cli.VERBS) - {"checkpoint", "restore", "help", "version"}:
        assert cli.main([verb, "--help"]) == 0
    assert cli.main(["--help"]) == 0
    known = set(re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out)) | FOREIGN
    assert {word for word in told if word.startswith("--")} - known == set()


def test_every_link_within_the_readme_leads_somewhere():
    with open(os.path.join(support.CHECKOUT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    titles = re.findall(r"^##+ (.*)$", text, re.M)
    places = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    links = set(re.findall(r"\]\(#([^)]*)\)", text))
    assert len(links) > 10 and links <= places
