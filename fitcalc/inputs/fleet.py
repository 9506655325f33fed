"""Which servers share the requests, when they fail, and whether prompts have their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from fitcalc.errors import InvalidValue
from fitcalc.inputs.engine import EngineArgs


@dataclass(frozen=True, slots=True)
class Servers:
    """Some servers alike.

    Attributes:
        count: How many. [1]
        gpu: Their GPU; ``None`` = the question's.
        engine: vLLM's settings of each; ``None`` = the question's.
    """

    count: int = 1
    gpu: str | None = None
    engine: EngineArgs | None = None

    def __post_init__(self) -> None:
        """Refuse less than one.

        Raises:
            InvalidValue: no server.
        """
        if self.count < 1:
            raise InvalidValue("count", self.count, "give a whole number of servers above 0")


@dataclass(frozen=True, slots=True)
class Outage:
    """A server that fails and comes back, with nothing in its memory.

    Attributes:
        replica: Which one, from 0.
        start_s: When it fails; its requests are sent again, elsewhere. [s]
        end_s: When it takes requests again. [s]
    """

    replica: int
    start_s: float
    end_s: float = inf

    def __post_init__(self) -> None:
        """Refuse an end before the start.

        Raises:
            InvalidValue: no time passes, or it never starts.
        """
        if not (self.replica >= 0 and 0 <= self.start_s < self.end_s and self.start_s < inf):
            shown = f"{self.replica}@{self.start_s:g}s-{self.end_s:g}s"
            raise InvalidValue(
                "outages", shown, "give a server from 0 on, and an end after the start"
            )


@dataclass(frozen=True, slots=True)
class Pools:
    """Prefill and decode on servers of their own, the KV cache sent from one to the other.

    Attributes:
        prefill: Servers that compute prompts: a number of the question's, or groups.
        decode: Servers that make tokens, as above.
        kv_link: Link of ``hardware_db/links.toml`` that carries KV caches, one port a GPU;
            ``None`` = the network between nodes that plans assume.
    """

    prefill: int | tuple[Servers, ...] = 1
    decode: int | tuple[Servers, ...] = 1
    kv_link: str | None = None


def groups_of(servers: int | Sequence[Servers], field: str) -> tuple[Servers, ...]:
    """Write a number of servers as a group.

    Raises:
        InvalidValue: there is no server.

    Examples:
        >>> groups_of(2, "replicas")
        (Servers(count=2, gpu=None, engine=None),)
    """
    if isinstance(servers, int):
        if servers < 1:
            raise InvalidValue(field, servers, "give a whole number above 0")
        return (Servers(servers),)
    if not servers:
        raise InvalidValue(field, "none", "give at least one server")
    return tuple(servers)
