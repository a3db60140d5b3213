"""Typed access to the members of a parsed JSON object, refusing what is missing, mistyped or unknown by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aisecops_server.domain.errors import InvalidPlanError
from aisecops_server.domain.formats.canonical import JsonValue


def refusal(field: str, why: str) -> InvalidPlanError:
    """Return the error that names ``field`` and says ``why`` it is refused."""
    return InvalidPlanError(f"{field}: {why}", hint="Send the message exactly as it was produced", field=field)


@dataclass(frozen=True, slots=True)
class JsonFields:
    """One object of a message and where it stands. Every accessor raises ``InvalidPlanError``."""

    members: Mapping[str, JsonValue]
    place: str

    def field(self, name: str) -> str:
        """Return the full name of a member."""
        return f"{self.place}.{name}"

    def allows(self, *names: str) -> None:
        """Refuse members that the shape does not know: they may mean something to somebody."""
        for name in self.members:
            if name not in names:
                raise refusal(self.field(name[:64]), "is not a member of this shape")

    def has(self, name: str) -> bool:
        """Return whether the member is there."""
        return name in self.members

    def value(self, name: str, *default: JsonValue) -> JsonValue:
        """Return a member, or ``default`` if one is given."""
        if name in self.members:
            return self.members[name]
        if default:
            return default[0]
        raise refusal(self.field(name), "is missing")

    def text(self, name: str, *default: str) -> str:
        """Return a string member."""
        value = self.value(name, *default)
        if not isinstance(value, str):
            raise refusal(self.field(name), "must be a string")
        return value

    def integer(self, name: str) -> int:
        """Return an integer member."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise refusal(self.field(name), "must be an integer")
        return value

    def boolean(self, name: str) -> bool:
        """Return a boolean member."""
        value = self.value(name)
        if not isinstance(value, bool):
            raise refusal(self.field(name), "must be true or false")
        return value

    def mapping(self, name: str) -> Mapping[str, JsonValue]:
        """Return an object member as it is."""
        value = self.value(name)
        if not isinstance(value, dict):
            raise refusal(self.field(name), "must be an object")
        return value

    def object(self, name: str) -> JsonFields:
        """Return an object member with its place."""
        return JsonFields(self.mapping(name), self.field(name))

    def array(self, name: str, *default: Sequence[JsonValue]) -> Sequence[JsonValue]:
        """Return an array member."""
        value = self.value(name, *default)
        if not isinstance(value, (list, tuple)):
            raise refusal(self.field(name), "must be an array")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of strings; a missing one is empty."""
        found = []
        for index, item in enumerate(self.array(name, ())):
            if not isinstance(item, str):
                raise refusal(f"{self.field(name)}[{index}]", "must be a string")
            found.append(item)
        return tuple(found)

    def objects(self, name: str, *default: Sequence[JsonValue]) -> tuple[JsonFields, ...]:
        """Return an array of objects."""
        found = []
        for index, item in enumerate(self.array(name, *default)):
            place = f"{self.field(name)}[{index}]"
            if not isinstance(item, dict):
                raise refusal(place, "must be an object")
            found.append(JsonFields(item, place))
        return tuple(found)
