"""A model's name as a visitor types it: a name or a hub id, never a path on the server."""

from __future__ import annotations

import re
from typing import Final

from fitcalc.catalog.config_files import looks_like_path
from fitcalc.errors import InvalidValue

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.: -]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_MOST: Final = 120
"""Of a name as it is typed. [characters]"""


def model_name(typed: str | None) -> str:
    """Return the name of a model; the dashboard reads no file of its server.

    Raises:
        InvalidValue: nothing was typed, or a path.
    """
    name = (typed or "").strip()
    if not _NAME.fullmatch(name) or len(name) > _MOST or looks_like_path(name):
        fix = "give a name or a Hugging Face id; the dashboard reads no files of its server"
        raise InvalidValue("model", name[:_MOST], fix)
    return name
