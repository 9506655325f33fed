"""TOML files that people write questions in, and lengths as those files say them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from fitcalc.errors import InvalidValue, MistakeInFile
from fitcalc.inputs.lengths import Lengths
from fitcalc.inputs.toml_lines import mistake_at
from fitcalc.units import MIB, parse_tokens

Table = Mapping[str, object]
_MOST_BYTES = MIB


def read_toml(path: Path, field: str) -> tuple[Table, str]:
    """Read a small TOML file; return it, and its text.

    Args:
        path: The file.
        field: What the file is to the user, for the message.

    Raises:
        FitcalcError: it cannot be read, or is no TOML.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InvalidValue(field, path, "give a TOML file of at most 1 MiB")
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text), text
    except OSError as error:
        why = (error.strerror or "no file").lower()
        fix = f"it cannot be read ({why}); give a TOML file"
        raise InvalidValue(field, path, fix) from None
    except (UnicodeDecodeError, RecursionError):
        raise InvalidValue(field, path, "it is no text in UTF-8; give a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        line, said = mistake_at(error, text)
        raise MistakeInFile(path, line, f"mend the TOML: {said}.") from None


def tokens_of(field: str, value: object) -> int | None:
    """Read ``1024`` or ``"1k"``; ``None`` where nothing is said. [tokens]"""
    return None if value is None else parse_tokens(str(value), field)


def lengths_of(field: str, value: object) -> Lengths:
    """Read a length: a number, or a table such as ``{ kind = "uniform", low = 1, high = 9 }``.

    Raises:
        InvalidValue: nothing is said, or it makes no sense.
    """
    if isinstance(value, Mapping):
        return Lengths(**cast("dict[str, object]", value))
    tokens = tokens_of(field, value)
    if tokens is None:
        raise InvalidValue(field, None, "give both isl and osl where one is a distribution")
    return Lengths.fixed(tokens)
