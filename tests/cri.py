"""The Container Runtime Interface: how the kubelet of Kubernetes drives containerd.

The client is made when it is needed from the interface's own description, api.proto of Debian's
golang-github-kubernetes-cri-api-dev, by Debian's protoc and grpc. MINICTR_TEST_PROTO names another place for
the descriptions than Debian's.
"""

import os
import signal
import subprocess

import daemons
import support

PLACE = os.environ.get("MINICTR_TEST_PROTO") or "/usr/share/gocode/src"
API = "k8s.io/cri-api/pkg/apis/runtime/v1/api.proto"

CONTAINERD_CONF = """
version = 2
root = "{place}/root"
state = "{place}/state"
[grpc]
address = "{place}/socket"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:latest"
restrict_oom_score_adj = true
enable_unprivileged_ports = false
enable_unprivileged_icmp = false
stream_server_address = "127.0.0.1"
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{place}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.minictr]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.minictr.options]
BinaryName = "{launcher}"
"""

# As a node has it that gives each pod an address on a bridge
NETWORK = """{
  "cniVersion": "0.4.0", "name": "pods",
  "plugins": [{
    "type": "bridge", "bridge": "pods0", "isGateway": true,
    "ipam": {"type": "host-local", "dataDir": "/run/pods",
      "ranges": [[{"subnet": "10.88.7.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}"""


EXITED = 2  # ContainerState of api.proto


def missing() -> str:
    """Why there is no client, or ""."""
    if not os.path.exists(os.path.join(PLACE, API)):
        return "needs golang-github-kubernetes-cri-api-dev, which Debian has from 13 on"
    try:
        import google.protobuf  # noqa: F401
        import grpc  # noqa: F401
    except ImportError as error:
        return "needs python3-grpcio: %s" % error
    return ""


class Refused(AssertionError):
    """A call that containerd has answered with an error."""


class Client:
    """client.RunPodSandbox(config={...}, runtime_handler="minictr"): a call, and what came back.

    Messages are dicts, named as in api.proto. A call that fails raises Refused, with what was said.
    """

    def __init__(self, address: str) -> None:
        import grpc
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

        place = support.SESSION.place("proto")
        command = ["protoc", "-I", PLACE, "--include_imports", "--descriptor_set_out=%s/api" % place, API]
        subprocess.run(command, check=True)
        with open(place + "/api", "rb") as file:
            files = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
        pool = descriptor_pool.DescriptorPool()
        for each in files:
            pool.Add(each)
        self._class = getattr(message_factory, "GetMessageClass", None) or (
            message_factory.MessageFactory(pool).GetPrototype
        )
        self._channel = grpc.insecure_channel("unix://" + address)
        self._methods = {}
        for name in ("RuntimeService", "ImageService"):
            for method in pool.FindServiceByName("runtime.v1." + name).methods:
                self._methods[method.name] = method

    def __getattr__(self, name: str):
        if name not in self._methods:
            raise AttributeError(name)
        method = self._methods[name]
        request, response = self._class(method.input_type), self._class(method.output_type)
        path = "/%s/%s" % (method.containing_service.full_name, name)
        call = self._channel.unary_unary(path, request.SerializeToString, response.FromString)

        def made(**fields: object):
            from google.protobuf import json_format
            from grpc import RpcError

            message = json_format.ParseDict(fields, request())
            try:
                return call(message, timeout=60, wait_for_ready=True)
            except RpcError as error:
                raise Refused("%s: %s" % (name, error.details())) from None

        return made

    def close(self) -> None:
        self._channel.close()


class Kubelet(daemons.Engine):
    """containerd with CRI, and what a kubelet does with it. It runs until `end`.

    images: {name: an archive of an image}
    """

    def __init__(self, yard, launcher: str, images: "dict[str, str]") -> None:
        super().__init__()
        self.yard, self.place = yard, support.SESSION.place("k", 0o711)
        os.mkdir(self.place + "/cni")
        daemons.write(self.place + "/cni", "pods.conflist", NETWORK)
        text = CONTAINERD_CONF.format(place=self.place, launcher=launcher)
        config = daemons.write(self.place, "config.toml", text)
        self.address = self.place + "/socket"
        # no process can be started in the yard any more once grpc has its threads: it enters namespaces
        script = 'while "$@" && [ -e %s/again ]; do rm %s/again; done' % (self.place, self.place)
        command = ("sh", "-c", script, "sh", "containerd", "--config", config)
        self.daemon = daemons.daemon(yard, self.place, *command)
        support.wait_until(lambda: self._ctr("version").status == 0, 60, "containerd is not up")
        for archive in images.values():
            assert self._ctr("images", "import", archive).status == 0
        self.client = Client(self.address)
        self.pods = 0
        support.wait_until(lambda: self._knows(images), 60, "containerd does not know the images")

    def _ctr(self, *words: str) -> support.Result:
        return self.yard.run("ctr", "--address", self.address, "--namespace", "k8s.io", *words)

    def restart(self) -> None:
        """containerd alone: what it has started has processes of their own that stand behind it."""
        open(self.place + "/again", "w").close()
        self._end_containerd()
        support.wait_until(lambda: not os.path.exists(self.place + "/again"), 60, "containerd does not end")
        support.wait_until(self._answers, 60, "containerd is not up again")

    def _answers(self) -> bool:
        try:
            self.client.ListPodSandbox()
        except Refused:  # it is not initialized yet
            return False
        return True

    def _end_containerd(self) -> None:
        with open("/proc/%d/task/%d/children" % ((self.daemon.pid,) * 2)) as children:
            os.kill(int(children.read()), signal.SIGTERM)

    def _knows(self, images) -> bool:
        known = {tag for image in self.client.ListImages().images for tag in image.repo_tags}
        return set(images) <= known

    def pod(self, **linux: dict) -> "Pod":
        self.pods += 1
        return Pod(self, "pod%d" % self.pods, linux)

    def clear(self) -> None:
        for pod in self.client.ListPodSandbox().items:
            self.client.StopPodSandbox(pod_sandbox_id=pod.id)
            self.client.RemovePodSandbox(pod_sandbox_id=pod.id)

    def end(self) -> None:
        self.clear()
        self.client.close()
        self._end_containerd()
        self.daemon.wait(30)


def namespaces(**modes: str) -> "dict[str, dict]":
    """A security_context with the modes of namespaces, POD, CONTAINER or NODE: the kubelet always has one"""
    return {"security_context": {"namespace_options": dict({"pid": "CONTAINER"}, **modes)}}


class Pod:
    """A pod of the runtime class that the engine is set to.

    linux: further fields of its LinuxPodSandboxConfig. One of the node's network has no hostname of its own.
    """

    def __init__(self, engine: Kubelet, name: str, linux: "dict[str, dict]") -> None:
        self.client = engine.client
        modes = linux.get("security_context", {}).get("namespace_options", {})
        self.logs, self.boxes = support.SESSION.place("logs"), 0
        self.config = {
            "metadata": {"name": name, "uid": name, "namespace": "default"},
            "hostname": "" if modes.get("network") == "NODE" else name,
            "log_directory": self.logs,
            "linux": dict({"cgroup_parent": "/kubepods"}, **linux),
        }
        made = self.client.RunPodSandbox(config=self.config, runtime_handler=engine.runtime)
        self.id = made.pod_sandbox_id

    def start(self, *command: str, **config: object) -> str:
        """A container with COMMAND, which runs; its id. config: further fields of its ContainerConfig"""
        made = self.create(*command, **config)
        self.client.StartContainer(container_id=made)
        return made

    def create(self, *command: str, **config: object) -> str:
        self.boxes += 1
        words = {
            "metadata": {"name": "box%d" % self.boxes},
            "image": {"image": "localhost/busybox:latest"},
            "command": list(command),
            "log_path": "box%d.log" % self.boxes,
            "linux": namespaces(),
        }
        words.update(config)
        made = self.client.CreateContainer(pod_sandbox_id=self.id, config=words, sandbox_config=self.config)
        return made.container_id

    def run(self, *command: str, **config: object) -> "tuple[int, list[str]]":
        """The same, until its end: its exit status and what it has said."""
        box = self.start(*command, **config)
        ended = self.wait(box)
        return ended.exit_code, self.said(box)

    def wait(self, box: str):
        status = self.client.ContainerStatus
        support.wait_until(lambda: status(container_id=box).status.state == EXITED, 60, "it has not exited")
        return status(container_id=box).status

    def said(self, box: str) -> "list[str]":
        """Of each line of the log: time, stream, whether it is whole, and the words."""
        with open(self.client.ContainerStatus(container_id=box).status.log_path) as file:
            return [line.rstrip("\n").split(" ", 3)[3] for line in file]

    def execute(self, box: str, *command: str) -> "tuple[int, str]":
        done = self.client.ExecSync(container_id=box, cmd=list(command), timeout=30)
        return done.exit_code, (done.stdout + done.stderr).decode()

    def stop(self, box: str, seconds: int):
        self.client.StopContainer(container_id=box, timeout=seconds)
        return self.client.ContainerStatus(container_id=box).status
