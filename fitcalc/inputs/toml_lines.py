"""On which line of a TOML file a field stands; tomllib itself does not say."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping

Path = tuple[str, ...]
_HEADER = re.compile(r"\s*(?P<open>\[{1,2})(?P<key>[^\[\]]+)\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"\s*(?P<key>[^=#\[\]{}]+?)\s*=")
_AT = re.compile(r"\s*\(at line (?P<line>\d+), column \d+\)$")


def lines_of(text: str) -> dict[Path, int]:
    r"""Return the line of each table and key of a TOML file, by its path.

    Keys of an inline table and of an array stand where that begins; the tables of ``[[one]]`` are
    counted from 0.

    Examples:
        >>> lines_of('model = "70b"\n[slo]\nttft_ms = 5')
        {('model',): 1, ('slo',): 2, ('slo', 'ttft_ms'): 3}
        >>> lines_of("[[offers]]\ngpus = 8")
        {('offers',): 1, ('offers', '0'): 1, ('offers', '0', 'gpus'): 2}
    """
    found: dict[Path, int] = {}
    counted: Counter[Path] = Counter()
    table: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _path(header["key"])
            if header["open"] == "[[":
                counted[table] += 1
                table = (*table, str(counted[table] - 1))
            for end in range(1, len(table) + 1):
                found.setdefault(table[:end], number)
        elif (key := _KEY.match(line)) and (path := _path(key["key"])):
            found.setdefault((*table, *path), number)
    return found


def line_at(lines: Mapping[Path, int], path: Path) -> int | None:
    """Return the line of a path, else of the nearest table around it.

    Examples:
        >>> line_at({("slo",): 2}, ("slo", "itl_ms"))
        2
    """
    around = (path[:end] for end in range(len(path), 0, -1))
    return next((lines[part] for part in around if part in lines), None)


def mistake_at(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """Return the line and the words of a mistake in the TOML itself."""
    said = str(error)
    place = _AT.search(said)
    line = int(place["line"]) if place else max(len(text.splitlines()), 1)
    words = _AT.sub("", said).removesuffix(" (at end of document)")
    return line, f"{words[:1].lower()}{words[1:]}"


def _path(key: str) -> Path:
    """Read a dotted key as tomllib does; nothing where it is none."""
    try:
        table: object = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(table, Mapping):
        ((name, table),) = table.items()
        path.append(str(name))
    return tuple(path)
