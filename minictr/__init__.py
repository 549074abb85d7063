"""minictr: a Linux container runtime in one folder of Python, standard library only.

As a library: `run`, `Container` and `containers`, in the manner of subprocess; see `minictr.library`.
"""

__version__ = "0.1.0"

# The command line, which this package belongs to first, is not to pay for the library
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .attended import DEVNULL, PIPE, STDOUT, CompletedProcess, Ending, IsolationError
    from .errors import ContainerError, Degradation
    from .failures import CalledProcessError, TimeoutExpired
    from .library import Container, containers, run
    from .service import dismiss_helper

__all__ = [
    "DEVNULL", "PIPE", "STDOUT", "CalledProcessError", "CompletedProcess", "Container", "ContainerError",
    "Degradation", "Ending", "IsolationError", "TimeoutExpired", "containers", "dismiss_helper", "run",
]  # fmt: skip
_PLACES = {
    "failures": ("CalledProcessError", "TimeoutExpired"),
    "errors": ("Degradation",),
    "service": ("dismiss_helper",),
}


def __dir__() -> "list[str]":
    """For help() and whoever completes names."""
    return sorted(set(globals()).union(__all__))


if not TYPE_CHECKING:  # to which a name that is not there is an error

    def __getattr__(name: str) -> object:
        """What is asked for first is imported then (PEP 562; before Python 3.7 see below)."""
        if name not in __all__:
            raise AttributeError("module 'minictr' has no attribute %r" % name)
        import importlib

        place = [module for module, names in _PLACES.items() if name in names] or ["library"]
        value = getattr(importlib.import_module("minictr." + place[0]), name)
        globals()[name] = value
        return value


def _before_3_7() -> None:
    import sys

    if sys.version_info < (3, 7):

        class Module(type(sys)):  # type: ignore[misc]
            def __getattr__(self, name: str) -> object:
                return self.__dict__["__getattr__"](name)

            def __dir__(self) -> "list[str]":
                return self.__dict__["__dir__"]()

        sys.modules[__name__].__class__ = Module


_before_3_7()
