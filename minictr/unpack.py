"""The finder and loader for what a pack has (`packed`), which the doors install (`doors`).

A start needs some fifty modules of ours. Each that importlib goes through for takes 0.02 ms more than one
that is made here, so with a module come those that it will ask for: 0.4 ms (2 %) of the cold start of a
container, measured in turn.

Nothing else of ours is loaded when this is, so it imports nothing of ours.

Side: host
"""

import sys
from _frozen_importlib import ModuleSpec
from marshal import loads
from posix import pread


class Pack:
    """file: a descriptor of what the pack lies in; place: where its package lies as files, which are not read
    mark: what stands before each code in the file, as long as that is the one which was opened
    table: {name: (start, end, needs)}: where that is, and what of ours the module imports at once
    """

    def __init__(
        self, file: int, place: str, mark: bytes, table: "dict[str, tuple[int, int, tuple[str, ...]]]"
    ) -> None:
        self.file, self.place, self.mark, self.table = file, place, mark, table

    def find_spec(self, name: str, path=None, target=None):
        if name not in self.table:
            return None
        spec = ModuleSpec(name, self, is_package=name == "minictr")  # type: ignore[arg-type]
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(self.place + "/minictr")
        return spec

    @staticmethod
    def create_module(spec):
        return None

    def exec_module(self, module) -> None:
        start, end, needs = self.table[module.__name__]
        for name in needs:
            if name not in sys.modules:
                self._make(name)
        content = pread(self.file, end - start, start)
        if len(content) != end - start or content[:8] != self.mark:
            raise ImportError("another file has been written over the one in %s" % self.place)
        exec(loads(content[8:]), module.__dict__)

    def _make(self, name: str) -> None:
        """What importlib would do."""
        module = type(sys)(name)
        spec = ModuleSpec(name, self)  # type: ignore[arg-type]
        module.__spec__, module.__loader__, module.__package__ = spec, self, "minictr"  # type: ignore[assignment]
        sys.modules[name] = module
        try:
            self.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        setattr(sys.modules["minictr"], name[len("minictr.") :], module)


def install(file: int, place: str, mark: bytes, table: "dict") -> None:
    sys.meta_path.insert(0, Pack(file, place, mark, table))
