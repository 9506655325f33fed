"""One server as widgets: a model on a GPU under vLLM's settings. The address holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import streamlit as st

from fitcalc import EngineArgs
from fitcalc.catalog.formats import kv_format_ids, weight_format_ids
from fitcalc.catalog.gpu import gpu_ids
from fitcalc.catalog.model import model_ids
from fitcalc.units import parse_tokens
from names import model_name

_LINK: Final = "query-params"
_FIRST = ("llama-3.1-8b-instruct", "h100_sxm")
_OWN, _AUTO = "the model's own", "auto"


@dataclass(frozen=True, slots=True)
class Server:
    """A model, a GPU and vLLM's settings; only the settings in ``engine`` were given."""

    model: str
    gpu: str
    engine: EngineArgs

    def flags(self) -> list[tuple[str, str]]:
        """Return the command line's options that ask the same."""
        given = self.engine.model_dump(exclude_unset=True, mode="json")
        return [
            ("model", self.model),
            ("gpu", self.gpu),
            *((_flag(name), _word(value)) for name, value in given.items() if value is not False),
        ]

    def python(self) -> str:
        """Return the arguments of a call in Python: model, GPU, settings."""
        given = self.engine.model_dump(exclude_unset=True, mode="json")
        said = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return f'"{self.model}", "{self.gpu}", EngineArgs({said})'


def ask_server(
    *, suffix: str = "", model: str = _FIRST[0], gpu: str = _FIRST[1], levers: bool = True
) -> Server:
    """Draw the widgets of one server and return it.

    Args:
        suffix: Ends the widgets' keys, where a page asks for two servers.
        model: The first page's model.
        gpu: The first page's GPU.
        levers: Whether it asks for tensor parallelism, KV format and share of memory too; a page
            may have its own widgets of them.

    Raises:
        FitcalcError: a setting makes no sense; the message is one sentence.
    """
    name = st.selectbox(
        "Model", (model, *(m for m in model_ids() if m != model)), key=f"model{suffix}",
        bind=_LINK, accept_new_options=True, help="A name or a Hugging Face id.",
    )  # fmt: skip
    card = st.selectbox(
        "GPU", gpu_ids(), gpu_ids().index(gpu), key=f"gpu{suffix}", bind=_LINK
    )  # fmt: skip
    tp, kv, share = 1, _AUTO, None
    if levers:
        tp = st.number_input(
            "GPUs a server (tensor parallel)", 1, 64, 1, key=f"tp{suffix}", bind=_LINK
        )
    quantization = st.selectbox(
        "Weight format", (_OWN, *weight_format_ids()), key=f"quantization{suffix}", bind=_LINK
    )
    if levers:
        kv = st.selectbox(
            "KV cache format", (_AUTO, *kv_format_ids()), key=f"kv-cache-dtype{suffix}", bind=_LINK
        )
    with st.expander("More of vLLM's settings"):
        length = st.text_input(
            "Longest request (tokens)", key=f"max-model-len{suffix}", bind=_LINK,
            help="max_model_len; empty: the model's own. 8k = 8192.",
        )  # fmt: skip
        seqs = st.number_input(
            "Requests at once, at most", 1, 65536, None, key=f"max-num-seqs{suffix}", bind=_LINK,
            help="max_num_seqs; empty: vLLM's default.",
        )  # fmt: skip
        tokens = st.number_input(
            "Tokens a step, at most", 1, 1_048_576, None, key=f"max-num-batched-tokens{suffix}",
            bind=_LINK, help="max_num_batched_tokens; empty: vLLM's default.",
        )  # fmt: skip
        if levers:
            share = st.number_input(
                "Share of memory for vLLM", 0.05, 1.0, None, key=f"gpu-memory-utilization{suffix}",
                bind=_LINK, step=0.01, help="gpu_memory_utilization; empty: vLLM's default.",
            )  # fmt: skip
        eager = st.checkbox("Without CUDA graphs", key=f"enforce-eager{suffix}", bind=_LINK)
    said = {
        "tensor_parallel_size": tp if tp > 1 else None,
        "quantization": None if quantization == _OWN else quantization,
        "kv_cache_dtype": None if kv == _AUTO else kv,
        "max_model_len": parse_tokens(length, "max_model_len") if length.strip() else None,
        "max_num_seqs": seqs,
        "max_num_batched_tokens": tokens,
        "gpu_memory_utilization": share,
        "enforce_eager": eager or None,
    }
    engine = EngineArgs(**{key: value for key, value in said.items() if value is not None})
    return Server(model_name(name), card, engine)


def _flag(name: str) -> str:
    return "tp" if name == "tensor_parallel_size" else name.replace("_", "-")


def _word(value: object) -> str:
    if value is True:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
