"""Memory on a terminal: the ledger, what was asked of it, and what would fit."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fitcalc.answers import MemoryLedger, Rejection
from fitcalc.planning.fit_answers import FitAnswers
from fitcalc.planning.fit_lists import FormatFit, GpuFit, ModelFit
from fitcalc.planning.fits import Room
from fitcalc.planning.knobs import Knob
from fitcalc.report.ledger_view import ledger_view, rejection_view
from fitcalc.report.parts import NARROW, table
from fitcalc.report.words import count, gib, gpu_name, number, sentence
from fitcalc.units import GIGA

_SHOWN = 25


def fit_view(found: FitAnswers, width: int = 80) -> Group:
    """Lay out the answers about one configuration."""
    narrow = width < NARROW
    parts: list[RenderableType] = []
    if isinstance(found.memory, Rejection):
        parts.append(rejection_view(found.memory))
    else:
        parts.append(ledger_view(found.memory, narrow=narrow))
    parts += [Text(line) for line in asked_lines(found)]
    if isinstance(found.memory, MemoryLedger):
        parts += [Text(sentence(note)) for note in found.memory.notes]
    if found.least_gpus is not None or found.what_frees or found.formats:
        parts += _would(found, narrow=narrow)
    return Group(*parts)


def asked_lines(found: FitAnswers) -> list[str]:
    """Say how many requests run at a context, and how long so many may be."""
    lines = []
    room = found.at_context
    if isinstance(room, Room):
        bound = "max_num_seqs" if room.limited_by == "max_num_seqs" else "the KV cache"
        said = f"{room.concurrency:,.1f} requests of {room.context:,} tokens run at once; {bound} "
        said += "is the limit."
        if found.concurrency is not None:
            enough = room.concurrency >= found.concurrency
            said += f" {'Enough' if enough else 'Too few'} for {found.concurrency:,}."
        lines.append(said)
    longest = found.at_concurrency
    if isinstance(longest, Room):
        many = f"{count(found.concurrency or 1, 'request')} at once"
        lines.append(
            f"{many} may have {longest.context:,} tokens each."
            if longest.context
            else f"{many} do not run, however short: {longest.limited_by} allows "
            f"{number(longest.concurrency)}."
        )
    return lines


def _would(found: FitAnswers, *, narrow: bool) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(least_words(found))]
    if found.what_frees:
        parts.append(_knobs(found.what_frees, narrow=narrow))
    if found.formats:
        parts.append(_formats(found.formats))
    return parts


def least_words(found: FitAnswers) -> str:
    """Say how few GPUs of a type hold a model, and the requests that were asked for."""
    least, many = found.least_gpus, found.concurrency or 1
    it = f"it and {many:,} requests at once" if many > 1 else "it"
    if least is None:
        return f"No number of GPUs of this type that was tried holds {it}."
    return (
        f"The least that holds {it}: {count(least.gpu_count, 'GPU')} of this type "
        f"({_split(least)}), {gib(least.kv_cache_bytes)} of KV cache each, "
        f"{number(least.max_concurrency)} requests of {least.max_model_len:,} tokens."
    )


def _split(fit: GpuFit) -> str:
    stages = f" x PP{fit.pipeline_parallel_size}" if fit.pipeline_parallel_size > 1 else ""
    return f"TP{fit.tensor_parallel_size}{stages}"


def _knobs(rows: Sequence[Knob], *, narrow: bool) -> Table:
    made = table("What one setting changes", "", "KV cache", "change", "requests", "change")
    if not narrow:
        made.add_column("costs", overflow="fold")
    for row in rows:
        moved = row.kv_cache_bytes_change
        made.add_row(
            f"{row.setting} {row.value}",
            "does not fit" if row.kv_cache_bytes is None else gib(row.kv_cache_bytes),
            "" if moved is None else f"{'-' if moved < 0 else '+'}{gib(abs(moved))}",
            "" if row.max_concurrency is None else f"{row.max_concurrency:,.1f}",
            "" if row.max_concurrency_change is None else f"{row.max_concurrency_change:+,.1f}",
            *(() if narrow else (row.cost,)),
        )
    return made


def _formats(rows: Sequence[FormatFit]) -> Table:
    made = table(
        "Weight formats on this GPU", "", "bits", "fits", "weights", "KV cache", "requests"
    )
    for row in rows:
        made.add_row(
            row.quantization + (" (this checkpoint)" if row.own_checkpoint else ""),
            f"{row.bits:.3g}",
            row.fits,
            "" if row.weights_bytes is None else gib(row.weights_bytes),
            "" if row.kv_cache_bytes is None else gib(row.kv_cache_bytes),
            "" if row.max_concurrency is None else f"{row.max_concurrency:,.1f}",
        )
    return made


def list_view(rows: Sequence[GpuFit] | Sequence[ModelFit]) -> RenderableType:
    """Lay out the GPUs that hold a model, or the models that a GPU holds."""
    if not rows:
        words = "Nothing fits; give a shorter context or a smaller format."
        return Text(words, style="bold red")
    gpus = [row for row in rows if isinstance(row, GpuFit)]
    return _gpus(gpus) if gpus else _models([row for row in rows if isinstance(row, ModelFit)])


def _gpus(rows: Sequence[GpuFit]) -> Table:
    title = "The fewest GPUs that hold it, least memory first"
    made = table(title, "", "GPUs", "split", "fits", "KV cache each", "requests")
    for row in rows:
        made.add_row(
            gpu_name(row.gpu), f"{row.gpu_count}", _split(row), row.fits,
            gib(row.kv_cache_bytes), f"{row.max_concurrency:,.1f} of {row.max_model_len:,}",
        )  # fmt: skip
    return made


def _models(rows: Sequence[ModelFit]) -> RenderableType:
    title = "The largest models that fit"
    made = table(title, "", "params", "weights", "fits", "KV cache", "requests")
    for row in rows[:_SHOWN]:
        made.add_row(
            row.model, f"{row.total_params / GIGA:,.1f} B", row.quantization, row.fits,
            gib(row.kv_cache_bytes), f"{row.max_concurrency:,.1f} of {row.max_model_len:,}",
        )  # fmt: skip
    rest = len(rows) - _SHOWN
    return Group(made, Text(f"{rest} smaller ones fit too.")) if rest > 0 else made
