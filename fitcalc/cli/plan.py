"""``fitcalc plan``: the cheapest deployment that keeps the promise."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from fitcalc.cli import options as opt
from fitcalc.cli.answer import ANSWERED, NOTHING_FITS, one_format, show, write_json, write_text
from fitcalc.cli.buying import read_buying
from fitcalc.cli.features import Lora, read_lora, read_speculation
from fitcalc.cli.groups import takes
from fitcalc.cli.risk import Profile, read_profile, read_risk
from fitcalc.inputs.buying import Buying
from fitcalc.inputs.engine import EngineArgs
from fitcalc.inputs.limits import PlanLimits
from fitcalc.inputs.risk import Risk
from fitcalc.inputs.slo import Slo
from fitcalc.inputs.speculation import Speculation
from fitcalc.units import parse_bytes, parse_share

if TYPE_CHECKING:
    from fitcalc.planning.choice import Plan

_LIMITS, _SERVER = "Limits", "vLLM's settings"
_SHOWN = 5
_SHARE = 0.2
"""How far ``--sensitivity`` moves each part of the question. [1]"""


@takes(
    profile=read_profile,
    slo=opt.read_slo,
    buying=read_buying,
    risk=read_risk,
    speculation=read_speculation,
    lora=read_lora,
)
def plan(
    *,
    model: opt.Model,
    profile: Profile,
    slo: Slo,
    buying: Buying,
    risk: Risk,
    speculation: Speculation | None,
    lora: Lora,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this GPU; may be repeated.",
            autocompletion=opt.gpu_names,
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    exclude_gpu: Annotated[
        list[str] | None,
        typer.Option(help="Not this GPU; may be repeated.", rich_help_panel=_LIMITS),
    ] = None,
    max_gpus: Annotated[
        int | None, typer.Option(help="Most GPUs in all.", rich_help_panel=_LIMITS)
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Most USD an hour.", rich_help_panel=_LIMITS)
    ] = None,
    headroom: Annotated[
        float | None,
        typer.Option(
            help="Share of the rate the promise allows that stays free, 0 to 0.9.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    quantization: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this weight format; may be repeated (default all that serve).",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    kv_cache_dtype: Annotated[
        str | None, typer.Option(help="KV cache format.", rich_help_panel=_SERVER)
    ] = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option(help="Share of the card's memory.", rich_help_panel=_SERVER)
    ] = None,
    vllm_version: Annotated[
        str | None, typer.Option(help="vLLM's version.", rich_help_panel=_SERVER)
    ] = None,
    min_quality: Annotated[
        str | None,
        typer.Option(
            help="Least published share of its quality that a format keeps, such as 99%.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(min=1, max=1000, help="Other GPU types to show.", rich_help_panel="Answer"),
    ] = _SHOWN,
    verify: Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Simulate the best and its runners-up, or nobody "
            "(default the best, where that is quick).",
            show_default=False,
            rich_help_panel="Answer",
        ),
    ] = None,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity",
            help="Show what 20 % less and more of each part of the question does to the choice.",
            rich_help_panel="Answer",
        ),
    ] = False,
    pareto: Annotated[
        bool,
        typer.Option(
            "--pareto",
            help="Show what nothing else beats in money, TTFT, ITL and GPUs.",
            rich_help_panel="Answer",
        ),
    ] = False,
    relax: Annotated[
        bool,
        typer.Option(
            "--relax/--no-relax",
            help="Where nothing fits, look for the least change that would.",
            rich_help_panel="Answer",
        ),
    ] = True,
    disaggregated: Annotated[
        bool,
        typer.Option(
            "--disaggregated",
            help="Size servers of prefill and of decode alone besides, event by event.",
            rich_help_panel="Features",
        ),
    ] = False,
    kv_offload: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Cost so much host memory for each GPU behind its KV cache besides: 64GiB.",
            rich_help_panel="Features",
        ),
    ] = None,
    as_json: opt.Json = False,
    as_markdown: opt.Markdown = False,
) -> int:
    """Plan the cheapest GPUs and vLLM settings that keep a latency promise."""
    one_format(as_json=as_json, as_markdown=as_markdown)
    from fitcalc.planning.plan import Verify
    from fitcalc.planning.plan import plan as make_plan
    from fitcalc.planning.unsaid import name_defaults

    load = profile.load
    server: dict[str, object] = {
        "kv_cache_dtype": kv_cache_dtype,
        "gpu_memory_utilization": gpu_memory_utilization,
        "version": vllm_version,
        **lora.settings,
    }
    if profile.mix is not None and profile.mix.ranked:
        server["scheduling_policy"] = "priority"
    engine = EngineArgs(max_model_len=load.length.longest, **opt.known(server))
    promise = slo
    if profile.mix is not None:
        from fitcalc.planning.mixed import tightest

        promise = tightest(profile.mix, slo)
    ask = partial(
        make_plan,
        model,
        gpus=opt.names(gpu) or None,
        exclude_gpus=opt.names(exclude_gpu),
        quantization=opt.names(quantization) or None,
        max_gpus=max_gpus,
        budget_usd_per_hour=budget,
        buying=buying,
        min_quality=None if min_quality is None else parse_share(min_quality, "min_quality"),
        headroom=headroom,
        engine=engine,
        risk=risk,
        rates=profile.rates,
        scaling=profile.scaling,
    )
    answer = ask(
        load.traffic,
        promise,
        verify=Verify.CHEAP if verify is None else verify,
        pareto=pareto,
        sensitivity=_SHARE if sensitivity else None,
        speculation=speculation,
        disaggregated=disaggregated,
        num_adapters=lora.number,
        kv_offload_bytes=None if kv_offload is None else parse_bytes(kv_offload, "kv_offload"),
    )
    if profile.mix is not None:
        from fitcalc.planning.mixed import with_pools

        open_length = engine.replace(max_model_len=None)
        answer = with_pools(answer, profile.mix, slo, partial(ask, engine=open_length))
    served = answer or any(one.having or one.without for one in answer.features)
    if relax and not served:
        from fitcalc.cli.relaxed import with_relaxations

        limits = PlanLimits(
            gpus=opt.names(gpu) or None,
            exclude_gpus=opt.names(exclude_gpu),
            quantization=opt.names(quantization) or None,
            max_gpus=max_gpus,
            budget_usd_per_hour=budget,
            cloud=buying.cloud,
        )
        answer = with_relaxations(answer, ask, limits, buying)
    answer = name_defaults(answer, slo, engine, split=bool(load.length.note))
    _write(answer, load.length.note, top, as_json=as_json, as_markdown=as_markdown)
    return ANSWERED if served else NOTHING_FITS


def _write(answer: Plan, note: str, top: int, *, as_json: bool, as_markdown: bool) -> None:
    if as_json:
        from fitcalc.catalog.version import fingerprints

        write_json({**answer.model_dump(mode="json"), "made_with": fingerprints()})
    elif as_markdown:
        from fitcalc.report.markdown import plan_markdown

        write_text(plan_markdown(answer, note, top))
    else:
        from fitcalc.report.plan_view import plan_view

        show(lambda width: plan_view(answer, note, width, top))
