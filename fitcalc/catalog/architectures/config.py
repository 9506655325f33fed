"""Typed reading of a Hugging Face config: a wrong key is named, never guessed around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from fitcalc.errors import InvalidValue

MAX_LAYERS = 4096
MAX_SIZE = 1 << 31
_MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Config:
    """One object of a config; ``where`` is its path, for messages."""

    data: Mapping[str, object]
    where: str = "config"

    def __contains__(self, key: str) -> bool:
        """Whether a key is there and not null."""
        return self.data.get(key) is not None

    def error(self, key: str, fix: str) -> InvalidValue:
        """Return the error that names this key, its value and the fix."""
        return InvalidValue(f"{self.where}.{key}", self.data.get(key, _MISSING), fix)

    def _first(self, keys: tuple[str, ...]) -> str | None:
        return next((key for key in keys if key in self), None)

    def integer(
        self, *keys: str, default: int | None = None, least: int = 1, most: int = MAX_SIZE
    ) -> int:
        """Read the first of these keys that is there, a whole number in [least, most].

        Raises:
            InvalidValue: none is there and no default, or it is no such number.
        """
        key = self._first(keys)
        if key is None:
            if default is not None:
                return default
            raise self.error(keys[0], "add this key, as the model's config.json has it")
        value = self.data[key]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.error(key, f"give a whole number from {least} to {most}")
        return value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Read a boolean; absent or null is the default."""
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, "give true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Read a string; absent or null is the default, if there is one."""
        value = self.data.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self.error(key, "give a string, as the model's config.json has it")
        return value

    def sub(self, *keys: str) -> Config | None:
        """Read the first of these keys that is there, an object; None if none is."""
        key = self._first(keys)
        if key is None:
            return None
        value = self.data[key]
        if not isinstance(value, Mapping):
            raise self.error(key, "give a JSON object")
        return Config(cast("Mapping[str, object]", value), f"{self.where}.{key}")

    def _sequence(self, key: str, length: int | None) -> Sequence[object] | None:
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise self.error(key, "give a list")
        if length is not None and len(value) < length:
            raise self.error(key, f"give one entry for each of the {length} layers")
        return value if length is None else value[:length]

    def texts(self, key: str, length: int | None = None) -> tuple[str, ...] | None:
        """Read a list of strings, one a layer if ``length`` is given; None if absent."""
        values = self._sequence(key, length)
        if values is None:
            return None
        if not all(isinstance(v, str) for v in values):
            raise self.error(key, "give a list of strings")
        return tuple(cast("Sequence[str]", values))

    def integers(self, key: str, length: int | None = None) -> tuple[int, ...] | None:
        """Read a list of whole numbers from 0, one a layer if ``length`` is given, or None."""
        values = self._sequence(key, length)
        if values is None:
            return None
        if not all(isinstance(v, int) and 0 <= v <= MAX_SIZE for v in values):
            raise self.error(key, "give a list of whole numbers, none below 0")
        return tuple(int(v) for v in cast("Sequence[int]", values))

    @property
    def num_hidden_layers(self) -> int:
        """Number of decoder layers, as the config says."""
        return self.integer("num_hidden_layers", "n_layer", most=MAX_LAYERS)
