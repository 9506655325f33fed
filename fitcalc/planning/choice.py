"""What a plan says: the question with every default, the best choice, and who lost."""

from __future__ import annotations

from fitcalc.answers import Limit, MemoryLedger, Percentiles, Prediction, Row
from fitcalc.inputs.buying import Buying
from fitcalc.inputs.engine import ResolvedEngine
from fitcalc.inputs.risk import Risk
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.traffic import Traffic
from fitcalc.planning.daily import Day
from fitcalc.planning.feature import Feature
from fitcalc.planning.judged import Quality
from fitcalc.planning.relaxation import Relaxation
from fitcalc.planning.reserves import Margins
from fitcalc.planning.why import ParetoPoint, Sensitivity


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
        min_quality: Least share of its quality that a format must keep; ``None`` = any. [1]
        buying: What may be bought, and how busy the day is.
        currency: Of the prices; every amount of a plan is in USD all the same.
        usd_per_unit: What one unit of it is worth. [USD]
        version: vLLM's version.
        defaults: Names of the fields above that nobody gave.
        risk: What the plan must survive.
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
    min_quality: float | None
    buying: Buying
    currency: str
    usd_per_unit: float
    version: str
    defaults: tuple[str, ...]
    risk: Risk = Risk()


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
        prediction: One replica at its share of the traffic, the spare ones lost.
        memory: One rank's ledger.
        usd_per_hour: All replicas; ``None`` where no price is known. [USD/h]
        usd_per_million_input_tokens: The whole bill over the input tokens of the day's mean rate.
            [USD]
        usd_per_million_output_tokens: The whole bill over its output tokens. [USD]
        usd_per_million_tokens: The whole bill over both. [USD]
        price_source: Cloud, instance, region, terms and date of the price.
        gpus_bought: GPUs that are paid for: instances come whole; ``None`` = no price. [1]
        idle_share: Share of what is bought that the day's mean rate leaves unused, of the rate
            that the promise allows. [1]
        vllm_command: Starts one server.
        headroom: Share of the rate the SLO allows that is left free. [1]
        notes: What a buyer must know.
        quality: What the formats cost in quality, and who ships them.
        verification: What events say of one server; ``None`` = not simulated.
        confidence: How sure the best is to keep the promise, the error of its prediction counted;
            ``None`` = not asked of runners-up. [1]
    """

    gpu: str
    gpu_count: int
    replicas: int
    engine: ResolvedEngine
    prediction: Prediction
    memory: MemoryLedger
    usd_per_hour: float | None
    usd_per_million_input_tokens: float | None
    usd_per_million_output_tokens: float | None
    usd_per_million_tokens: float | None
    price_source: str
    gpus_bought: int | None
    idle_share: float
    vllm_command: str
    headroom: float
    notes: tuple[str, ...]
    quality: Quality
    verification: Verification | None = None
    confidence: float | None = None


class HostedPrice(Row):
    """What a host asks for the traffic of a plan.

    Attributes:
        host: Who serves it.
        name: What the host calls the model.
        usd_per_million_input_tokens, usd_per_million_output_tokens: List prices. [USD]
        usd_per_hour: The day's mean rate at these prices. [USD/h]
        checked: When the price was seen.
    """

    host: str
    name: str
    usd_per_million_input_tokens: float
    usd_per_million_output_tokens: float
    usd_per_hour: float
    checked: str


class Hosted(Row):
    """Hosted APIs beside a plan.

    Attributes:
        hosts: Those that take prompts this long, the cheapest for this traffic first.
        break_even_qps: Below this peak rate the cheapest host costs less than servers such as the
            plan's best; ``None`` = at every rate, or the servers have no price. [req/s]
        source: Where the list prices are from.
    """

    hosts: tuple[HostedPrice, ...]
    break_even_qps: float | None
    source: str


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
    a plan without a best choice is falsy. ``hosted`` is the same traffic at hosts of the model;
    ``margins`` say which reason adds how many servers, where risks were named; ``day`` what
    scaling by the hour costs, where rates were given; ``pareto`` what no other deployment
    beats and ``sensitivity`` what the choice depends on, where they were asked for; ``features``
    each feature that was asked about, beside the plan without it; ``relaxations`` what would pass,
    where nothing does and it was looked for.
    """

    question: PlanQuestion
    best: Choice | None
    alternatives: tuple[Choice, ...]
    rejections: tuple[RejectedChoice, ...]
    closest: RejectedChoice | None = None
    hosted: Hosted | None = None
    margins: Margins | None = None
    day: Day | None = None
    pareto: tuple[ParetoPoint, ...] | None = None
    sensitivity: Sensitivity | None = None
    features: tuple[Feature, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything serves the traffic."""
        return self.best is not None
