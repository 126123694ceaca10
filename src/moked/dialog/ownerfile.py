"""YAML that a business owner writes, read with the place of every mistake.

Values are taken as the letters in the file: `no`, `08:00` and `050-2345678` mean what they look like and not what YAML
1.1 makes of them. Every error is a `ProfileError` that names the file, the line and the field, and says what is right.
"""

import difflib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml

from moked.errors import ProfileError

LARGEST_BYTES: Final = 1_000_000


class Place:
    """One value in the file. `path` is how the owner would point at it: "services[2].price"."""

    def __init__(self, node: yaml.Node, file: str, path: str) -> None:
        self._node = node
        self._file = file
        self.path = path

    def fail(self, what_is_right: str, key: str, **values: object) -> NoReturn:
        """Raise `ProfileError` about this place. `key` and `values` are for telling it in another language."""
        line = self._node.start_mark.line + 1
        where = f"{self._file}, line {line}" + (f": {self.path}" if self.path else "")
        told = {name: str(value) for name, value in values.items()}
        raise ProfileError(f"{where}: {what_is_right}", key, self.path, line, **told)

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
            self.fail("a text is needed here, not a list or a group of fields", "text")
        return " ".join(self._node.value.split()) if not self.empty else ""

    def lines(self) -> str:
        """The value with its lines, as it is written."""
        if not isinstance(self._node, yaml.ScalarNode):
            self.fail("a text is needed here, not a list or a group of fields", "text")
        return "\n".join(line.rstrip() for line in self._node.value.strip().splitlines())

    def one_of(self, options: Collection[str]) -> str:
        value = self.text()
        if value not in options:
            self.fail(
                f"{value!r} is not known; {_or(options)}{_closest(value, options)}",
                "one_of",
                value=value,
                options=", ".join(options),
            )
        return value

    def number(self, low: int, high: int) -> int:
        value = self.text()
        if not (value.isdecimal() and low <= int(value) <= high):
            self.fail(f"a whole number from {low} to {high} is needed, not {value!r}", "number", low=low, high=high)
        return int(value)

    def switch(self) -> bool:
        return self.one_of(("yes", "no", "true", "false")) in ("yes", "true")

    def items(self) -> list["Place"]:
        """The items of a list; one text alone is a list of one."""
        if self.empty:
            return []
        if not isinstance(self._node, yaml.SequenceNode):
            return (
                [self] if not self.is_table else self.fail("a list is needed here: lines that begin with '-'", "list")
            )
        return [Place(node, self._file, f"{self.path}[{i}]") for i, node in enumerate(self._node.value, 1)]

    def texts(self) -> tuple[str, ...]:
        return tuple(text for item in self.items() if (text := item.text()))

    def table(self, known: Collection[str] | None = None, required: Collection[str] = ()) -> dict[str, "Place"]:
        """The fields of a group, without empty ones. Unknown, repeated and missing ones are errors."""
        if self.empty:
            fields: dict[str, Place] = {}
        elif not isinstance(self._node, yaml.MappingNode):
            self.fail("fields are needed here: lines of the form 'key: value'", "fields")
        else:
            fields = dict(self._fields(self._node, known))
        for key in required:
            if key not in fields:
                self.fail(f"the field {key!r} is missing", "missing", field=key)
        return fields

    def _fields(self, node: yaml.MappingNode, known: Collection[str] | None) -> Iterator[tuple[str, "Place"]]:
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = Place(key_node, self._file, self.path).text()
            value = Place(value_node, self._file, f"{self.path}.{key}" if self.path else key)
            if known is not None and key not in known:
                unknown = f"unknown field{_closest(key, known)}; {_or(known)}"
                Place(key_node, self._file, value.path).fail(unknown, "unknown", field=key, options=", ".join(known))
            if key in seen:
                Place(key_node, self._file, value.path).fail("this field is written twice", "twice")
            seen.add(key)
            if not value.empty:
                yield key, value


def read(path: Path) -> Place:
    """The whole file. Raises `ProfileError` when it cannot be read or is no YAML."""
    return parse(text_of(path), str(path))


def text_of(path: Path) -> str:
    """The file's text. Raises `ProfileError` when it cannot be read."""
    try:
        data = path.read_bytes()
        if len(data) > LARGEST_BYTES:
            raise ProfileError(f"{path}: larger than {LARGEST_BYTES} bytes; this cannot be a profile", "too_long")
        return data.decode("utf-8")
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror or error}", "unreadable") from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: is not UTF-8 text; save it as UTF-8", "unreadable") from error


def parse(text: str, name: str) -> Place:
    """The whole text, called `name` in errors. Raises `ProfileError` when it is no YAML."""
    if len(text.encode("utf-8", "replace")) > LARGEST_BYTES:
        raise ProfileError(f"{name}: larger than {LARGEST_BYTES} bytes; this cannot be a profile", "too_long")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        number = error.problem_mark.line + 1 if error.problem_mark else 0
        where = f"{name}, line {number}" if number else name
        told = f"{where}: is not valid YAML: {error.problem}; check indentation and quotes"
        raise ProfileError(told, "yaml", line=number) from error
    except yaml.YAMLError as error:
        raise ProfileError(f"{name}: is not valid YAML: {error}", "yaml") from error
    except RecursionError as error:
        raise ProfileError(f"{name}: is nested too deeply to be a profile", "deep") from error
    if node is None:
        raise ProfileError(f"{name}: is empty", "empty")
    return Place(node, name, "")


def plain(text: str, name: str) -> Any:
    """The same as lists, dicts and the letters as they stand: what a form shows. Raises `ProfileError`."""
    parse(text, name)
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  (makes strings, lists and dicts alone)
    except yaml.YAMLError as error:
        raise ProfileError(f"{name}: is not valid YAML: {error}", "yaml") from error


def written(fields: Any) -> str:
    """The YAML of what `plain` gives: one text for the same fields, whatever order and quotes they came in."""
    text: str = yaml.safe_dump(fields, allow_unicode=True, sort_keys=False, width=110)
    return text


def _closest(word: str, options: Collection[str]) -> str:
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f", did you mean '{close[0]}'?" if close else ""


def _or(options: Collection[str]) -> str:
    return "possible: " + ", ".join(options)
