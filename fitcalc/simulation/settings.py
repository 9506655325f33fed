"""vLLM's settings that decide the schedule."""

from __future__ import annotations

from dataclasses import dataclass

from fitcalc.errors import InvalidValue, UnknownName
from fitcalc.inputs.engine import SchedulingPolicy
from fitcalc.simulation.blocks import BlockRule


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """vLLM's settings that decide the schedule, by vLLM's names.

    Attributes:
        max_num_seqs: Sequences in a step at most. [1]
        max_num_batched_tokens: Tokens in a step at most. [tokens]
        num_gpu_blocks: KV blocks, vLLM's null block included. [1]
        block_size: Tokens of a KV block. [tokens]
        enable_chunked_prefill: Whether a prompt may be split over steps.
        async_scheduling: Whether a step is scheduled as the one before it begins, so that
            arrivals and ends are seen one step later (vllm/v1/core/sched/async_scheduler.py).
        enable_prefix_caching: Whether prompts that start alike share their blocks.
        watermark: Share of the blocks kept free on admission beside others
            (vllm/v1/core/kv_cache_manager.py). [1]
        max_num_active_seqs: Sequences that may run at once; ``None`` = ``max_num_seqs``. [1]
        long_prefill_token_threshold: Tokens of one prompt in a step at most while others are
            there; 0 = no limit. [tokens]
        prefill_schedule_interval: Steps from one with prompt tokens to the next while sequences
            decode, unless the queue did not drain. [1]
        policy: ``fcfs``, or ``priority``: the lowest number first, then who came first.
        block_rules: How sequences take blocks where kinds of layers differ; empty = every layer
            keeps every token, in blocks of ``block_size``.
        max_model_len: Longest request; longer ones are refused. ``None`` = any. [tokens]
    """

    max_num_seqs: int
    max_num_batched_tokens: int
    num_gpu_blocks: int
    block_size: int = 16
    enable_chunked_prefill: bool = True
    async_scheduling: bool = False
    enable_prefix_caching: bool = True
    watermark: float = 0.0
    max_num_active_seqs: int | None = None
    long_prefill_token_threshold: int = 0
    prefill_schedule_interval: int = 1
    policy: str = SchedulingPolicy.FCFS
    block_rules: tuple[BlockRule, ...] = ()
    max_model_len: int | None = None

    @property
    def seats(self) -> int:
        """Sequences that may run at once. [1]"""
        active = self.max_num_active_seqs
        return self.max_num_seqs if active is None else min(active, self.max_num_seqs)

    @property
    def finds_prefixes(self) -> bool:
        """Whether what was computed before is found again; layers with a state find nothing."""
        return self.enable_prefix_caching and all(rule.block_size for rule in self.block_rules)

    def check(self) -> None:
        """Refuse settings that vLLM would refuse.

        Raises:
            InvalidValue: a setting below 1, or a budget below the sequences.
            UnknownName: no such policy.
        """
        positive = (
            "max_num_seqs", "max_num_batched_tokens", "block_size", "num_gpu_blocks", "seats",
            "prefill_schedule_interval",
        )  # fmt: skip
        for field in positive:
            value = getattr(self, field)
            if value < 1:
                raise InvalidValue(field, value, "give a whole number above 0")
        if self.policy not in set(SchedulingPolicy):
            raise UnknownName("policy", self.policy, SchedulingPolicy)
        if self.max_num_batched_tokens < self.max_num_seqs:
            fix = f"give at least max_num_seqs = {self.max_num_seqs}"
            raise InvalidValue("max_num_batched_tokens", self.max_num_batched_tokens, fix)
        if self.long_prefill_token_threshold < 0:
            fix = "give a whole number, 0 for no limit"
            raise InvalidValue(
                "long_prefill_token_threshold", self.long_prefill_token_threshold, fix
            )
