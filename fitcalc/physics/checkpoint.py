"""Weights of a rank from a checkpoint's own tensors: exact bytes, sharded as vLLM shards them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from fitcalc.catalog.formats import WeightFormat
from fitcalc.catalog.index import FLOATS, CheckpointIndex, StoredTensor
from fitcalc.catalog.model import LlmModel, Shard, Tensor, TensorKind
from fitcalc.errors import InvalidValue
from fitcalc.physics.checkpoint_names import Part, Place, layer_tensors, place
from fitcalc.physics.weights import (
    ABSORBED,
    ANY_CARD,
    HALF,
    Card,
    Parallel,
    Stored,
    Weights,
    rank_sides,
    rank_weight_bytes,
    stage_layers,
    stored,
    tensor_bytes,
)

MOST_UNKNOWN = 0.02
"""Share of a checkpoint's bytes that may have unknown names before it is refused."""
FURTHEST_TOTAL = 0.15
"""How far an index's total may be from the model's counted weights before it is refused."""
_MATRIX = ("weight", "qweight", "weight_packed")


@dataclass(frozen=True, slots=True)
class CheckpointWeights:
    """Weights of a rank, and what a reader should know of how they were found."""

    weights: Weights
    notes: tuple[str, ...]


@lru_cache(maxsize=512)
def checkpoint_weights(
    model: LlmModel,
    index: CheckpointIndex,
    weight_format: WeightFormat | None,
    split: Parallel,
    *,
    gpu: Card = ANY_CARD,
    mtp: bool = False,
) -> CheckpointWeights:
    """Weights on the fullest rank, from a checkpoint's headers or its index. [B]

    Tensors are split as the model's table says for their name; padding and copies that vLLM adds
    are kept. An index alone gives names and a total, to which the config's count is scaled.

    Raises:
        InvalidValue: the checkpoint is another model's, or is not whole.
    """
    found = _places(model, index)
    if index.sized:
        how = stored(model, weight_format)
        packed = any(t.dtype not in FLOATS and where.part is Part.LAYER for t, where in found)
        if packed and how is None:
            what = f"its tensors are quantized and {model.id} is not; name its quantization"
            raise InvalidValue("index", index.source, what)
        sharing = _Sharing(model, how, split, gpu, online=how is not None and not packed, mtp=mtp)
        return _from_headers(index, found, sharing)
    return _scaled(model, index, weight_format, split, gpu, mtp=mtp)


@lru_cache(maxsize=16)
def _places(model: LlmModel, index: CheckpointIndex) -> tuple[tuple[StoredTensor, Place], ...]:
    found = tuple((tensor, place(model, tensor.name)) for tensor in index.tensors)
    _check_layers(model, index, [where for _, where in found])
    return found


def _check_layers(model: LlmModel, index: CheckpointIndex, places: list[Place]) -> None:
    held = {where.layer for where in places if where.part is Part.LAYER}
    most = max(held, default=-1) + 1
    if held == set(range(model.num_hidden_layers)):
        return
    what = f"it holds {len(held)} of layers 0 to {max(most, 1) - 1} and {model.id} has "
    what += f"{model.num_hidden_layers} layers; give all its files, or the model they belong to"
    raise InvalidValue("index", index.source, what)


def _scaled(
    model: LlmModel, index: CheckpointIndex, fmt: WeightFormat | None, split: Parallel, gpu: Card,
    *, mtp: bool,
) -> CheckpointWeights:  # fmt: skip
    how = stored(model, fmt)
    inside = sum(
        times * sum(_on_disk(t, how) for t in layer.tensors)
        for layer, times in zip(model.layers, model.layer_counts, strict=True)
    )
    counted = inside + sum(_on_disk(t, how) for t in model.outer if t.kind is not TensorKind.MTP)
    extra = sum(_on_disk(t, how) for t in model.outer if t.kind is TensorKind.MTP)
    ratio = min((index.total_bytes / c for c in (counted, counted + extra)),
                key=lambda r: abs(r - 1.0))  # fmt: skip
    if abs(ratio - 1.0) > FURTHEST_TOTAL:
        what = f"its total_size is {ratio:.2f} times what {model.id} takes in this format; "
        raise InvalidValue("index", index.source, what + "name its quantization, or its model")
    held = rank_weight_bytes(
        model, fmt, tp=split.tp, pp=split.pp, dp=split.dp,
        enable_expert_parallel=split.enable_expert_parallel, gpu=gpu, mtp=mtp,
    )  # fmt: skip
    weights = Weights(
        held.bytes * ratio,
        {kind: size * ratio for kind, size in held.by_kind.items()},
        tuple(size * ratio for size in held.stages),
    )
    note = f"weights: the config's count times {ratio:.4f}, to the total_size of {index.source}"
    return CheckpointWeights(weights, (note,))


def _from_headers(
    index: CheckpointIndex, found: tuple[tuple[StoredTensor, Place], ...], sharing: _Sharing
) -> CheckpointWeights:
    stages: list[dict[TensorKind, float]] = [{} for _ in range(sharing.split.pp)]
    unknown: list[StoredTensor] = []
    for tensor, where in found:
        kind, size, known = sharing.rank_bytes(tensor, where)
        if not known:
            unknown.append(tensor)
        for stage in sharing.stages(where):
            stages[stage][kind] = stages[stage].get(kind, 0.0) + size
    for stage, kind, size in sharing.copies():
        stages[stage][kind] = stages[stage].get(kind, 0.0) + size
    totals = tuple(math.fsum(sums.values()) for sums in stages)
    fullest = totals.index(max(totals))
    notes = (f"weights: {len(found):,} tensors of {index.source}", *_unknown(index, unknown))
    return CheckpointWeights(Weights(totals[fullest], stages[fullest], totals), notes)


def _unknown(index: CheckpointIndex, unknown: list[StoredTensor]) -> tuple[str, ...]:
    """Report tensors with names that the model's table does not hold, or refuse too many."""
    if not unknown:
        return ()
    size = math.fsum(t.bytes for t in unknown)
    what = (
        f"{len(unknown):,} of its tensors ({size / index.total_bytes:.1%} of the bytes), such as "
    )
    what += f"{unknown[0].name[:80]!r}, have names that the model's table does not hold"
    if size > MOST_UNKNOWN * index.total_bytes:
        raise InvalidValue("index", index.source, f"{what}; give the model it belongs to")
    return (f"weights: {what}; they are counted whole on every rank",)


@dataclass(frozen=True, slots=True)
class _Sharing:
    """How a checkpoint's tensors come to lie on a rank."""

    model: LlmModel
    how: Stored | None
    split: Parallel
    gpu: Card
    online: bool
    mtp: bool

    def stages(self, where: Place) -> tuple[int, ...]:
        """Pipeline stages that hold a tensor (see ``weights._outer``)."""
        last, tied = self.split.pp - 1, self.model.tie_word_embeddings
        if where.part is Part.LAYER:
            return (_stage_of(self.model.num_hidden_layers, self.split.pp)[where.layer],)
        if where.part in (Part.VISION, Part.UNKNOWN):
            return tuple(range(self.split.pp))
        held = {
            Part.EMBEDDING: (0, last) if tied and last else (0,),
            Part.HEAD: () if tied else (last,),
            Part.LAST: (last,),
            Part.MTP: (last,) if self.mtp else (),
        }
        return held.get(where.part, ())

    def copies(self) -> Iterator[tuple[int, TensorKind, float]]:
        """Stage, kind and bytes of vLLM's second copies, which no checkpoint holds."""
        on = _stage_of(self.model.num_hidden_layers, self.split.pp)
        for stage, layer in zip(on, self.model.pattern, strict=True):
            for tensor in self.model.layers[layer].tensors:
                if tensor.duplicate:
                    size = tensor_bytes(tensor, self.split, self.how, self.gpu)
                    yield stage, tensor.kind, size

    def rank_bytes(self, tensor: StoredTensor, where: Place) -> tuple[TensorKind, float, bool]:
        """Kind and bytes on one rank, and whether the name is known."""
        alike = self._alike(where)
        kind = alike[0].kind if alike else _KINDS[where.part]
        size = self._loaded(tensor, alike, where)
        known = bool(alike) or len(tensor.shape) <= 1 or where.part is not Part.LAYER
        if not alike or self._whole(tensor, alike[0], where):
            return kind, size, known and where.part is not Part.UNKNOWN
        sides = [rank_sides(t, self.split, self.how, self.gpu) for t in alike]
        held = sum(rows * cols * count for rows, cols, count in sides)
        share = held / sum(t.rows * t.cols * t.experts * t.copies for t in alike)
        copied = alike[0].gemm == ABSORBED and where.parameter in _MATRIX
        copy = held * HALF if copied and self._quantized(alike[0]) else 0.0
        return kind, size * share + copy, True

    def _quantized(self, tensor: Tensor) -> bool:
        return self.how is not None and self.how.covers(tensor)

    def _alike(self, where: Place) -> tuple[Tensor, ...]:
        """Return the model's tensors that the checkpoint's one is, or is fused of."""
        if where.part is Part.LAYER:
            return layer_tensors(self.model, where)
        kind = _KINDS[where.part]
        if where.part in (Part.LAST, Part.UNKNOWN, Part.UNUSED):
            return ()
        return tuple(t for t in self.model.outer if t.kind is kind)

    def _loaded(self, tensor: StoredTensor, alike: tuple[Tensor, ...], where: Place) -> float:
        """Bytes after loading: floats become 16-bit, or the format they are quantized to."""
        width = FLOATS.get(tensor.dtype)
        if width is None or where.parameter not in ("weight", "bias"):
            return tensor.bytes
        elements = tensor.bytes / width
        if self.online and self.how and alike and self._quantized(alike[0]):
            return elements * self.how.format.bytes_per_param_at(self.how.group_size)
        kept = alike[0].dtype_bytes if alike else 0
        return elements * (kept or HALF)

    def _whole(self, tensor: StoredTensor, alike: Tensor, where: Place) -> bool:
        """Whether every rank holds it whole: one element, or one a row of a row-split matrix."""
        if math.prod(tensor.shape) <= 1:
            return True
        by_expert = where.expert and self.split.enable_expert_parallel
        narrow = len(tensor.shape) <= 1 or tensor.shape[-1] == 1 or where.parameter == "bias"
        return alike.shard is Shard.ROW and narrow and not by_expert


@lru_cache(maxsize=256)
def _stage_of(layers: int, pp: int) -> tuple[int, ...]:
    """Pipeline stage of each layer."""
    counts = stage_layers(layers, pp)
    return tuple(stage for stage, count in enumerate(counts) for _ in range(count))


_KINDS = {
    Part.LAYER: TensorKind.OTHER, Part.EMBEDDING: TensorKind.EMBEDDING,
    Part.HEAD: TensorKind.LM_HEAD, Part.LAST: TensorKind.OTHER, Part.VISION: TensorKind.VISION,
    Part.MTP: TensorKind.MTP, Part.UNKNOWN: TensorKind.OTHER, Part.UNUSED: TensorKind.OTHER,
}  # fmt: skip


def _on_disk(tensor: Tensor, how: Stored | None) -> float:
    """Bytes of a tensor in the checkpoint: no padding, no copies, no parallelism. [B]"""
    if how is None or not how.covers(tensor):
        return tensor.parameters * (tensor.dtype_bytes or HALF)
    channels = tensor.rows * tensor.experts * tensor.copies * how.format.channel_scale_bytes
    return tensor.parameters * how.format.bytes_per_param_at(how.group_size) + channels
