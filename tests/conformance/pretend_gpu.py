"""Import the GPU build of vLLM on a machine without a GPU, as if it ran on one.

Its Python files are all that is needed to build a model without weights and to plan its KV cache.
What is compiled, or speaks to a driver, is answered for here; nothing of the planning is.
"""

# mypy: disable-error-code="import-not-found"
# ruff: noqa: PLC0415 - what is imported looks for a GPU, so order matters
from __future__ import annotations

import functools
import os
import re
import sys
import types
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any
from unittest.mock import MagicMock

COMPILED = re.compile(
    r"vllm\.(_\w*C(_stable_libtorch)?|vllm_flash_attn\._vllm_fa\d_C|third_party\.deep_gemm)$"
)
"""Extensions of the wheel, which are loaded for their side effects."""
ABSENT = (
    "flashinfer",
    "vllm.vllm_flash_attn.cute",
    "torchvision",
    "vllm.model_executor.layers.minimax_rms_norm.lamport_workspace",
)
"""Packages that model files import by name and planning never calls."""
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",  # else Triton is asked for its driver
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_HAS_FLASHINFER_CUBIN": "1",  # its package is installed with vLLM's
}


class _Stub(types.ModuleType):
    """A package whose every name exists."""

    __file__ = __version__ = "99.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = MagicMock(name=name)
        setattr(self, name, value)
        return value


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        absent = any(name == p or name.startswith(p + ".") for p in ABSENT)
        if absent or COMPILED.match(name):
            return ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Stub(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def _lenient_operators() -> None:
    """Let compiled operators be named and described, though none exists."""
    import torch
    import torch._ops

    namespace: Any = torch._ops._OpNamespace
    lookup = namespace.__getattr__

    operator = MagicMock()

    def named(self: Any, name: str) -> Any:
        try:
            return lookup(self, name)
        except AttributeError:
            if name.startswith("__") or not self.name.startswith(("_", "vllm")):
                raise
            return operator

    register = torch.library.register_fake

    def described(*args: Any, **kwargs: Any) -> Any:
        def keep(function: Callable[..., Any]) -> Any:
            try:
                return register(*args, **kwargs)(function)
            except RuntimeError:
                return function

        return keep if len(args) == 1 else register(*args, **kwargs)

    namespace.__getattr__ = named
    torch.library.register_fake = described


def platform(capability: str, name: str, memory_bytes: int) -> None:
    """Make that GPU the one vLLM runs on. Call it before anything else of vLLM is imported."""
    os.environ.update(ENVIRONMENT)
    sys.meta_path.insert(0, _Finder())
    import torch
    from vllm import platforms

    platforms.vllm_version_matches_substr = lambda _: False
    from vllm.platforms.cuda import CudaPlatformBase
    from vllm.platforms.interface import DeviceCapability

    major, minor = map(int, capability.split("."))
    answers = {
        "get_device_capability": DeviceCapability(major, minor),
        "get_device_name": name,
        "get_device_total_memory": memory_bytes,
        "is_fully_connected": True,
        "device_count": 64,
        "num_compute_units": 132,
    }
    methods = {
        key: classmethod(lambda *_, value=value, **__: value) for key, value in answers.items()
    }
    platforms._current_platform = type("PretendPlatform", (CudaPlatformBase,), methods)()
    torch.version.cuda = "13.0"  # as the wheel is built
    torch.cuda.current_device = lambda: 0
    for kind in ("Stream", "Event"):
        setattr(torch.cuda, kind, MagicMock())
    _say_yes()
    import vllm.engine.arg_utils  # noqa: F401 - looks for operators before they are named

    _lenient_operators()
    _leave_out_buffers()


def _leave_out_buffers() -> None:
    """Leave out what is made for weights and kernels."""
    from vllm.model_executor.model_loader import utils as loader
    from vllm.v1 import kv_cache_interface as interface
    from vllm.v1.attention.backends import flashinfer
    from vllm.v1.attention.ops import cp_common as context_parallel
    from vllm.v1.worker import workspace

    loader.record_metadata_for_reloading = lambda _: None
    flashinfer._get_multi_ctas_kv_counter_buffer = MagicMock()
    context_parallel.in_the_same_node_as = lambda ranks, **_: [True] * ranks.world_size
    workspace._manager = MagicMock()
    interface.get_dtype_size = functools.cache(interface.get_dtype_size)  # else a tensor each


def _say_yes() -> None:
    """Answer as the compiled parts of the wheel would on a GPU that they support."""
    from vllm import _custom_ops as operators
    from vllm.config import vllm as config
    from vllm.model_executor.models import registry
    from vllm.triton_utils import importing as triton

    for name in dir(operators):
        if "_supports_" in name or name == "cutlass_group_gemm_supported":
            setattr(operators, name, lambda *_, **__: True)
    registry._run_in_subprocess = lambda function: function()
    registry._LazyRegisteredModel._save_modelinfo_to_cache = lambda *_: None
    triton.HAS_TRITON = config.HAS_TRITON = True
