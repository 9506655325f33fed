"""What a plan answers about a day or a week of rates."""

from __future__ import annotations

from fitcalc.answers import Row


class ColdStart(Row):
    """How long a new server takes: an estimate, of one public measurement for each part.

    Attributes:
        seconds: In all. [s]
        node_s: A GPU node joins the cluster; none where a node waits. [s]
        boot_s: Imports and workers. [s]
        weights_s: The checkpoint from storage into the cards. [s]
        engine_s: Compile, profile, capture graphs, without a kept compile cache. [s]
        estimated: Whether the tables say it, and not the user.
    """

    seconds: float
    node_s: float = 0.0
    boot_s: float = 0.0
    weights_s: float = 0.0
    engine_s: float = 0.0
    estimated: bool = False


class Hour(Row):
    """One hour of the profile.

    Attributes:
        hour: Since its start. [h]
        requests: That come. [1]
        peak_per_s: Highest rate. [1/s]
        replicas: Most servers that are needed, the spare ones included. [1]
        server_hours: Servers paid for, those that start or are held included. [h]
        usd: What they cost; ``None`` where no price is known. [USD]
    """

    hour: int
    requests: float
    peak_per_s: float
    replicas: int
    server_hours: float
    usd: float | None


class Fleet(Row):
    """Servers over the whole profile.

    Attributes:
        server_hours: Paid for. [h]
        usd: Their cost; ``None`` where no price is known. [USD]
        usd_per_million_tokens: Over the tokens that really come, input and output. [USD]
        idle_share: Share of what the GPUs paid for could carry within the promise that no
            request uses. [1]
    """

    server_hours: float
    usd: float | None
    usd_per_million_tokens: float | None
    idle_share: float


class Day(Row):
    """A profile of rates served by the chosen configuration.

    Attributes:
        hours: Hour by hour.
        requests: Of the whole profile. [1]
        mean_per_s, peak_per_s: Rates. [1/s]
        target_per_s: What an autoscaler gives each server at most. [1/s]
        static: Servers for the peak, all the time.
        scaled: Servers by need.
        saving: Share of the static cost that scaling saves. [1]
        cold_start: From the order of a server to its first token.
        shortest_lead_s: Least time from the moment the running servers of a window carry all that
            the promise allows back to the moment its rise begins; ``None`` = the rate never
            outgrows them. [s]
        late_share: Share of requests that meet too few servers where servers are only ordered
            when the load is there. [1]
        over_share: Share of requests that come while ``max_replicas`` is too few. [1]
        verdict: Whether scaling helps, and why.
    """

    hours: tuple[Hour, ...]
    requests: float
    mean_per_s: float
    peak_per_s: float
    target_per_s: float
    min_replicas: int
    max_replicas: int
    static: Fleet
    scaled: Fleet
    saving: float | None
    cold_start: ColdStart
    shortest_lead_s: float | None
    late_share: float
    over_share: float
    verdict: str
