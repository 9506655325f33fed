"""Configs that are no table of ours: a config.json, its folder, or the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

from fitcalc.errors import InvalidValue
from fitcalc.units import MIB

MAX_BYTES = 4 * MIB
CONFIG = "config.json"
HUB_TIMEOUT_S = 3.0


class Download(Protocol):
    """How huggingface_hub fetches one file of a repository."""

    def __call__(self, repo_id: str, filename: str, *, etag_timeout: float) -> str:
        """Return the path of the fetched file."""


def looks_like_path(name: str) -> bool:
    """Whether a name means a file: it ends in .json, is rooted, or is there on disk."""
    if name.endswith(".json") or name.startswith(("/", "./", "../", "~", ".\\")) or name == ".":
        return True
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


def read_config(path: Path) -> Mapping[str, object]:
    """Read a config.json, or the one in a folder.

    Raises:
        InvalidValue: it is not there, not a JSON object, or too large to be a config.
    """
    try:
        file = path.expanduser()
        file = file / CONFIG if file.is_dir() else file
        if not file.is_file():
            raise InvalidValue("model", path, f"there is no {CONFIG} at this path")
        if file.stat().st_size > MAX_BYTES:
            raise InvalidValue("model", path, "it is above 4 MiB, too large for a config.json")
        data = json.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InvalidValue("model", path, f"it is no text; give a {CONFIG}") from None
    except json.JSONDecodeError as error:
        raise InvalidValue("model", path, f"it is not JSON ({error})") from None
    except RecursionError:
        raise InvalidValue("model", path, "it is nested too deeply to be a config") from None
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InvalidValue):
            raise
        raise InvalidValue("model", path, f"it cannot be read ({error})") from None
    return as_object(data, path)


def as_object(data: object, path: object) -> Mapping[str, object]:
    """Return parsed JSON that is an object.

    Raises:
        InvalidValue: it is a list, a number or a string.
    """
    if not isinstance(data, Mapping):
        raise InvalidValue("model", path, f"a {CONFIG} holds one JSON object")
    return cast("Mapping[str, object]", data)


def fetch_config(name: str) -> Mapping[str, object] | None:
    """Fetch a config from the hub, if huggingface_hub is installed; None if it is not.

    Raises:
        InvalidValue: the hub does not give it.
    """
    if find_spec("huggingface_hub") is None:
        return None
    download = cast("Download", import_module("huggingface_hub").hf_hub_download)
    try:
        path = download(name, CONFIG, etag_timeout=HUB_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001 - any trouble of the hub is one sentence
        first = (str(error).splitlines() or [type(error).__name__])[0]
        fix = f"fitcalc has no table of it and the hub did not give its {CONFIG} ({first})"
        raise InvalidValue("model", name, fix) from None
    return read_config(Path(path))
