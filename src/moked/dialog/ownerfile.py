"""YAML that a business owner writes, read with the place of every mistake.

Values are taken as the letters in the file: `no`, `08:00` and `050-2345678` mean what they look like and not what YAML
1.1 makes of them. Every error is a `ProfileError` that names the file, the line and the field, and says what is right.
"""

import difflib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NoReturn

import yaml

from moked.errors import ProfileError

_LARGEST_BYTES = 1_000_000


class Place:
    """One value in the file. `path` is how the owner would point at it: "services[2].price"."""

    def __init__(self, node: yaml.Node, file: str, path: str) -> None:
        self._node = node
        self._file = file
        self.path = path

    def fail(self, what_is_right: str) -> NoReturn:
        """Raise `ProfileError` about this place."""
        where = f"{self._file}, line {self._node.start_mark.line + 1}"
        raise ProfileError(f"{where}: {self.path}: {what_is_right}" if self.path else f"{where}: {what_is_right}")

    @property
    def empty(self) -> bool:
        """Nothing was written after the key."""
        return isinstance(self._node, yaml.ScalarNode) and self._node.tag == "tag:yaml.org,2002:null"

    @property
    def is_list(self) -> bool:
        return isinstance(self._node, yaml.SequenceNode)

    @property
    def is_table(self) -> bool:
        return isinstance(self._node, yaml.MappingNode)

    def text(self) -> str:
        """The value as it is written, on one line."""
        if not isinstance(self._node, yaml.ScalarNode):
            self.fail("a text is needed here, not a list or a group of fields")
        return " ".join(self._node.value.split()) if not self.empty else ""

    def one_of(self, options: Collection[str]) -> str:
        value = self.text()
        if value not in options:
            self.fail(f"{value!r} is not known; {_or(options)}{_closest(value, options)}")
        return value

    def number(self, low: int, high: int) -> int:
        value = self.text()
        if not (value.isdecimal() and low <= int(value) <= high):
            self.fail(f"a whole number from {low} to {high} is needed, not {value!r}")
        return int(value)

    def switch(self) -> bool:
        return self.one_of(("yes", "no", "true", "false")) in ("yes", "true")

    def items(self) -> list["Place"]:
        """The items of a list; one text alone is a list of one."""
        if self.empty:
            return []
        if not isinstance(self._node, yaml.SequenceNode):
            return [self] if not self.is_table else self.fail("a list is needed here: lines that begin with '-'")
        return [Place(node, self._file, f"{self.path}[{i}]") for i, node in enumerate(self._node.value, 1)]

    def texts(self) -> tuple[str, ...]:
        return tuple(text for item in self.items() if (text := item.text()))

    def table(self, known: Collection[str] | None = None, required: Collection[str] = ()) -> dict[str, "Place"]:
        """The fields of a group, without empty ones. Unknown, repeated and missing ones are errors."""
        if self.empty:
            fields: dict[str, Place] = {}
        elif not isinstance(self._node, yaml.MappingNode):
            self.fail("fields are needed here: lines of the form 'key: value'")
        else:
            fields = dict(self._fields(self._node, known))
        for key in required:
            if key not in fields:
                self.fail(f"the field {key!r} is missing")
        return fields

    def _fields(self, node: yaml.MappingNode, known: Collection[str] | None) -> Iterator[tuple[str, "Place"]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = Place(key_node, self._file, self.path).text()
            value = Place(value_node, self._file, f"{self.path}.{key}" if self.path else key)
            if known is not None and key not in known:
                Place(key_node, self._file, value.path).fail(f"unknown field{_closest(key, known)}; {_or(known)}")
            if key in seen:
                Place(key_node, self._file, value.path).fail("this field is written twice")
            seen.add(key)
            if not value.empty:
                yield key, value


def read(path: Path) -> Place:
    """The whole file. Raises `ProfileError` when it cannot be read or is no YAML."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > _LARGEST_BYTES:
        raise ProfileError(f"{path}: larger than {_LARGEST_BYTES} bytes; this cannot be a profile")
    try:
        node = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: is not UTF-8 text; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ProfileError(f"{path}{line}: is not valid YAML: {error.problem}; check indentation and quotes") from error
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: is not valid YAML: {error}") from error
    except RecursionError as error:
        raise ProfileError(f"{path}: is nested too deeply to be a profile") from error
    if node is None:
        raise ProfileError(f"{path}: is empty")
    return Place(node, str(path), "")


def _closest(word: str, options: Collection[str]) -> str:
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""


def _or(options: Collection[str]) -> str:
    return "possible: " + ", ".join(options)
