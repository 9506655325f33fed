"""What a plan says: the question with every default, the best choice, and who lost."""

from __future__ import annotations

from fitcalc.answers import Limit, MemoryLedger, Percentiles, Prediction, Row
from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic


class PlanQuestion(Row):
    """The question as understood, every default written out.

    Attributes:
        model: Table id of the model, or the path it came from.
        hf_id: Its Hugging Face name.
        traffic: The whole load, over all replicas.
        slo: The promise.
        headroom: Share of the rate the SLO allows a replica that is left free. [1]
        max_model_len: Longest request a server accepts. [tokens]
        gpus: GPU types that were considered.
        weight_formats: Weight formats that were considered.
        max_gpus: Most GPUs in all; ``None`` = no limit.
        budget_usd_per_hour: Most money an hour; ``None`` = no limit.
        cloud: Only this cloud's prices; ``None`` = the cheapest of all.
        version: vLLM's version.
        defaults: Names of the fields above that nobody gave.
    """

    model: str
    hf_id: str
    traffic: Traffic
    slo: Slo
    headroom: float
    max_model_len: int
    gpus: tuple[str, ...]
    weight_formats: tuple[str, ...]
    max_gpus: int | None
    budget_usd_per_hour: float | None
    cloud: str | None
    version: str
    defaults: tuple[str, ...]


class Confirmed(Row):
    """One latency at the promised percentile, in closed form and event by event.

    Attributes:
        limit: Which latency.
        percentile: At which it is promised. [%]
        promised_ms: Its limit; ``None`` = not promised. [ms]
        closed_form_ms: What the closed form said. [ms]
        simulated_ms: What events had. [ms]
        low_ms, high_ms: The 90 % interval of that percentile, from the number of requests. [ms]
        difference: The closed form over events, less one. [1]
        holds: Whether events keep the limit: ``low_ms`` is not above it.
    """

    limit: Limit
    percentile: float
    promised_ms: float | None
    closed_form_ms: float
    simulated_ms: float
    low_ms: float
    high_ms: float
    difference: float
    holds: bool

    @property
    def surely_holds(self) -> bool:
        """Whether all of the interval keeps the limit."""
        return self.promised_ms is None or self.high_ms <= self.promised_ms


class Verification(Row):
    """One server at its share of the traffic, event by event.

    Attributes:
        ok: Whether it kept up and every limit holds.
        stable: Whether it kept up.
        limits: TTFT, ITL and E2E at the promised percentile.
        ttft_ms, itl_ms, tpot_ms, e2e_ms: What users felt. [ms]
        num_requests: Requests simulated. [1]
        seed: That drew them.
        replicas_planned: Servers that the closed form asked for. [1]
    """

    ok: bool
    stable: bool
    limits: tuple[Confirmed, ...]
    ttft_ms: Percentiles
    itl_ms: Percentiles
    tpot_ms: Percentiles
    e2e_ms: Percentiles
    num_requests: int
    seed: int
    replicas_planned: int


class Choice(Row):
    """One configuration that keeps the promise, and what it costs.

    Attributes:
        gpu: Table id.
        gpu_count: GPUs in all replicas. [1]
        replicas: Servers behind the router. [1]
        engine: vLLM's settings of each server.
        prediction: One replica at its share of the traffic.
        memory: One rank's ledger.
        usd_per_hour: All replicas; ``None`` where no price is known. [USD/h]
        usd_per_million_output_tokens: At the asked rate. [USD]
        usd_per_million_tokens: At the asked rate, input and output together. [USD]
        price_source: Cloud, instance and date of the price.
        vllm_command: Starts one server.
        headroom: Share of the rate the SLO allows that is left free. [1]
        notes: What a buyer must know.
        verification: What events say of one server; ``None`` = not simulated.
    """

    gpu: str
    gpu_count: int
    replicas: int
    engine: ResolvedEngine
    prediction: Prediction
    memory: MemoryLedger
    usd_per_hour: float | None
    usd_per_million_output_tokens: float | None
    usd_per_million_tokens: float | None
    price_source: str
    vllm_command: str
    headroom: float
    notes: tuple[str, ...]
    verification: Verification | None = None


class RejectedChoice(Row):
    """A configuration that lost: which limit, how much it needs and how much there is."""

    gpu: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    weight_format: str
    kv_cache_dtype: str
    limit: Limit
    needed: float
    available: float
    reason: str


class Plan(Row):
    """The answer. ``best`` is ``None`` when nothing fits; then ``closest`` says what is missing.

    ``alternatives`` hold the runners-up, at least the best of every GPU type that can serve;
    a plan without a best choice is falsy.
    """

    question: PlanQuestion
    best: Choice | None
    alternatives: tuple[Choice, ...]
    rejections: tuple[RejectedChoice, ...]
    closest: RejectedChoice | None = None

    def __bool__(self) -> bool:
        """Whether anything serves the traffic."""
        return self.best is not None
