"""Immutable values from annotations: what dataclasses do, at a twentieth of their start-up cost.

dataclasses and typing.NamedTuple compile source for each class (about 1 ms each); this sets
attributes in a loop instead, so thirty classes cost half a millisecond.

Side: both
"""

MYPY = False
if MYPY:  # for the type checker alone: typing takes milliseconds to import
    from typing import TypeVar

    R = TypeVar("R", bound="Record")


class Record:
    """Subclass with annotated fields; defaults as in a dataclass. Compared and shown by value."""

    fields = ()  # type: tuple[str, ...]

    def __init_subclass__(cls) -> None:
        cls.fields = tuple(cls.__annotations__)

    def __init__(self, **values: object) -> None:
        given = self.__dict__
        given.update(values)
        for name in self.fields:
            if name not in given:
                given[name] = getattr(type(self), name)  # AttributeError names a missing field
        if len(given) != len(self.fields):
            raise TypeError("%s has no field %s" % (type(self).__name__, set(given) - set(self.fields)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("%s.%s cannot be changed" % (type(self).__name__, name))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join("%s=%r" % item for item in self.__dict__.items())
        return "%s(%s)" % (type(self).__name__, shown)

    def replace(self: "R", **values: object) -> "R":
        return type(self)(**dict(self.__dict__, **values))
