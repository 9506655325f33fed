"""How files are written: YAML through PyYAML, shell lines one flag a line, comments on top."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from fitcalc.errors import InvalidValue

Yaml = Mapping[str, object]
_WIDE = 10_000


def comments(lines: Iterable[str]) -> str:
    """Return lines as comments of YAML and shell."""
    return "".join(f"# {line}\n" for line in lines)


def yaml_text(header: Sequence[str], *documents: Yaml) -> str:
    """Return documents as one YAML file under its comments.

    Raises:
        InvalidValue: PyYAML is not installed.
    """
    try:
        import yaml  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError:
        fix = "install PyYAML with pip install 'fitcalc[deploy]'"
        raise InvalidValue("deploy", "PyYAML", fix) from None

    class Dumper(yaml.SafeDumper):
        """Writes scripts as they are read: line by line, not as one quoted string."""

    def scalar(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, scalar)
    body = yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, width=_WIDE)
    return comments(header) + body


def shell_text(words: Sequence[str], *, start: int = 1) -> str:
    r"""Return a command with each option on a line of its own, every word quoted.

    Args:
        words: The command.
        start: Words before the first option that stay on the first line.

    Examples:
        >>> print(shell_text(["vllm", "serve", "a b", "--x", "1", "--y"], start=3))
        vllm serve 'a b' \
          --x 1 \
          --y
    """
    lines = [shlex.join(words[:start])]
    for word in words[start:]:
        if word.startswith("--"):
            lines.append(f"  {shlex.quote(word)}")
        else:
            lines[-1] += f" {shlex.quote(word)}"
    return " \\\n".join(lines)


def script_text(header: Sequence[str], *commands: str) -> str:
    """Return commands as a shell script under its comments."""
    return f"#!/bin/sh\n{comments(header)}set -eu\n" + "".join(f"{c}\n" for c in commands)
