"""From the order of a server to its first token."""

from __future__ import annotations

from fitcalc.catalog.startup import startup
from fitcalc.planning.daily import ColdStart
from fitcalc.planning.setup import Setup

_HALF_BITS = 16.0


def cold_start(setup: Setup, weights_bytes: float, given_s: float | None = None) -> ColdStart:
    """Estimate a start, or take the user's figure.

    ``node + boot + checkpoint / storage bandwidth + layers * engine start a layer``

    Args:
        setup: The server.
        weights_bytes: Weights of each rank. [B]
        given_s: What the user measured. [s]
    """
    if given_s is not None:
        return ColdStart(seconds=given_s)
    figures = startup()
    ranks = setup.engine.tensor_parallel_size * setup.engine.pipeline_parallel_size
    # A format made while loading reads the whole 16-bit checkpoint.
    read = 1.0 if setup.own_checkpoint else max(1.0, _HALF_BITS / setup.weight.bits)
    weights_s = weights_bytes * ranks * read / figures.storage_bytes_per_s
    layers = 0 if setup.engine.enforce_eager else setup.model.num_hidden_layers
    engine_s = layers * figures.engine_layer_s
    return ColdStart(
        seconds=figures.node_s + figures.boot_s + weights_s + engine_s,
        node_s=figures.node_s,
        boot_s=figures.boot_s,
        weights_s=weights_s,
        engine_s=engine_s,
        estimated=True,
    )
