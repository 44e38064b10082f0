"""Memory of the fullest process of a run, held throughout and then for sampling or learning; the disk that it needs.

Counted from shapes and lengths; docs/running.md compares it with measured peaks. GB are 10^9 bytes. The nearest change
of a run that fits is found by planning it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from cada_trl.config import CONF_DIR, Config, HardwareConfig, check_config
from cada_trl.config.loading import as_override
from cada_trl.errors import UserError
from cada_trl.planning.device import memory_a_process_gb, offloads_optimizer, zero_stage
from cada_trl.planning.shapes import Lengths, Shape, anchor_prompt_tok, anchor_tok, longest, raw_prompt_tok
from cada_trl.storage.reading import read_yaml

FLOAT32, BFLOAT16 = 4, 2
LIBRARIES_GB = 0.53  # measured: a whole run of a model of almost no weights (docs/running.md)
CUDA_GB = 1.5  # ours: context, kernels and NCCL's buffers
USABLE_FRAC = 0.92  # ours: the allocator's fragments and the system take the rest
VLLM_FRAC = 0.3  # trl 1.16's default vllm_gpu_memory_utilization
VLLM_WEIGHTS_FRAC = 0.9  # ours: of vLLM's share; caches and graphs need the rest
CPU_KV_CACHE_GIB = 2  # ours, vLLM without a GPU: 46,000 tokens of SmolLM2-135M in float32
VLLM_LIBRARIES_GB = 0.4  # measured: what importing vLLM adds to a process (docs/running.md)
SCORE_TILES, TILE_TOK, TILE_VOCAB = 4, 1024, 4096  # algo/scores.py: logits, probabilities, gap and gradient of a tile
LIVE_PARAMS = 1_000_000_000  # DeepSpeed's default stage3_max_live_parameters
BUCKET_PARAMS = 500_000_000  # DeepSpeed's default reduce_bucket_size
# Of four GPUs, for a run under ZeRO-2: the cheaper first.
ZERO3_FILES = ("launch/accelerate_zero3_4gpu.yaml", "launch/accelerate_zero3_offload_4gpu.yaml")
PROBES = ("n_probe_harmful", "n_probe_harmless", "n_header_pairs")
MOST_CHANGES = 3


@dataclass(frozen=True)
class MemoryPlan:
    """GB of one process, by what they are for. device_gb None: the device is not known here."""

    held: dict[str, float]
    sampling: dict[str, float]
    learning: dict[str, float]
    device_gb: float | None
    refusal: str | None = None  # why it cannot run at all, whatever the sum

    @property
    def peak_gb(self) -> float:
        return sum(self.held.values()) + max(sum(self.sampling.values()), sum(self.learning.values()))

    @property
    def fits(self) -> bool | None:
        """Whether the peak stays within the usable part of the device; None where that is not known."""
        if self.refusal:
            return False
        return None if self.device_gb is None else self.peak_gb <= USABLE_FRAC * self.device_gb


def plan_memory(config: Config, shape: Shape, lengths: Lengths | None = None) -> MemoryPlan:
    """The plan of a run with sequences of the given lengths; by default the longest that it allows."""
    lengths = lengths or longest(config)
    device_gb = memory_a_process_gb(config.hardware)
    need = _Need(config, shape, lengths)
    held, refusal = need.held(), None
    if config.rollout.backend == "vllm_colocate" and config.hardware.device == "cpu":
        weights = (shape.n_params + shape.matmul_params) * need.compute_bytes  # the parameters and the packed ones
        held["vllm"] = (weights + CPU_KV_CACHE_GIB * 2**30) / 1e9 + VLLM_LIBRARIES_GB
    elif config.rollout.backend == "vllm_colocate" and device_gb is not None:
        held["vllm"] = VLLM_FRAC * device_gb
        weights_gb = shape.n_params * BFLOAT16 / 1e9
        if weights_gb > VLLM_WEIGHTS_FRAC * held["vllm"]:
            refusal = f"vLLM's weights of {weights_gb:.0f} GB do not fit into its share of {held['vllm']:.0f} GB"
    return MemoryPlan(held, _gb(need.sampling()), _gb(need.learning()), device_gb, refusal)


def run_folder_gb(config: Config, shape: Shape) -> float:
    """GB at the fullest moment: the kept checkpoints, the one in writing, the trained model."""
    lora = config.peft.adapter == "lora"
    saved_bytes = FLOAT32 if lora or config.model.dtype == "float32" else BFLOAT16
    n_trained = shape.lora_params(config.peft.rank) if lora else shape.n_params
    moments_bytes = 12 if zero_stage(config.hardware) else 2 * saved_bytes
    checkpoint = n_trained * (saved_bytes + moments_bytes)
    n_checkpoints = config.tracking.save_total_limit + 1
    return (n_checkpoints * checkpoint + n_trained * saved_bytes) / 1e9


def nearest_fit(config: Config, shape: Shape) -> tuple[str, MemoryPlan] | None:
    """The words of the fewest changes that make the run fit, and its plan then; None where up to three do not.

    Of equally many the one that changes the result least comes first: checkpointing, micro-batches and a probe's batch
    only cost time, rollouts without vLLM too, probes only measure, other hardware costs money, and LoRA trains
    something else. A change that the configuration refuses, such as a step that the processes cannot divide, is passed
    over.
    """
    changes, lengths = list(_changes(config)), longest(config)
    for n_changes in range(1, MOST_CHANGES + 1):
        for chosen in combinations(changes, n_changes):
            if len({key for key, _, _ in chosen}) < n_changes:
                continue
            values = config.model_dump()
            in_order = sorted(chosen, key=lambda change: change[0] != "hardware")  # other words go on top
            for _, _, sections in in_order:
                for section, new in sections.items():
                    values[section] |= new
            try:
                changed = check_config(values)
            except UserError:
                continue
            if (plan := plan_memory(changed, shape, lengths)).fits:
                return " ".join(words for _, words, _ in in_order), plan
    return None


def _changes(config: Config) -> Iterator[tuple[str, str, dict[str, dict[str, Any]]]]:
    """(what it changes, of which a run has one change; its words on the command line; the keys that it sets)."""
    hardware = config.hardware
    if not hardware.gradient_checkpointing:
        yield "checkpointing", "gradient_checkpointing=true", {"hardware": {"gradient_checkpointing": True}}
    for size in range(hardware.micro_batch - 1, 0, -1):
        yield "micro_batch", f"micro_batch={size}", {"hardware": {"micro_batch": size}}
    size = config.tracking.probe_batch
    while size := size // 2:
        yield "probes", f"probe_batch={size}", {"tracking": {"probe_batch": size}}
    if config.rollout.backend != "transformers":
        yield "probes", " ".join(f"{key}=0" for key in PROBES), {"tracking": dict.fromkeys(PROBES, 0)}
    if config.rollout.backend == "vllm_colocate":
        yield "backend", "backend=transformers", {"rollout": {"backend": "transformers"}}
    if hardware.accelerate_config and "zero2_4gpu" in hardware.accelerate_config:
        for name in ZERO3_FILES:  # a launch file goes with its hardware
            yield "hardware", f"accelerate_config={name}", {"hardware": {"accelerate_config": name}}
    files = {file.stem: HardwareConfig(**read_yaml(file)) for file in (CONF_DIR / "hardware").glob("*.yaml")}
    for name, other in sorted(files.items(), key=lambda file: (file[1].n_processes, file[0])):
        if other.device == "cuda" and other != hardware:
            words = [f"hardware={name}"]
            if hardware not in files.values():  # keys were typed, which outlast another hardware=
                differ = ((key, value) for key, value in other if value != getattr(hardware, key))
                words += [as_override(key, value) for key, value in differ]
            yield "hardware", " ".join(words), {"hardware": other.model_dump()}
    if config.peft.adapter == "none":
        yield "peft", "peft=lora", {"peft": {"adapter": "lora"}}


def _gb(n_bytes: dict[str, float]) -> dict[str, float]:
    return {name: n / 1e9 for name, n in n_bytes.items()}


class _Need:
    """Bytes of each part."""

    def __init__(self, config: Config, shape: Shape, lengths: Lengths) -> None:
        hardware = config.hardware
        self.config, self.shape, self.lengths = config, shape, lengths
        self.zero = zero_stage(hardware)  # DeepSpeed's, 0 without it
        self.offload = offloads_optimizer(hardware)  # optimiser and gradients are elsewhere
        self.lora = config.peft.adapter == "lora"
        self.n_trained = shape.lora_params(config.peft.rank) if self.lora else shape.n_params
        # DeepSpeed keeps the model in bfloat16 and float32 copies in the optimiser.
        float32 = config.model.dtype == "float32" and not (self.zero and hardware.bf16)
        self.weight_bytes = FLOAT32 if float32 else BFLOAT16
        # Of a trained weight, its gradient and each of its moments: PEFT makes adapters float32.
        self.trained_bytes = FLOAT32 if self.lora and not self.zero else self.weight_bytes
        self.compute_bytes = BFLOAT16 if hardware.bf16 else self.weight_bytes
        self.split = hardware.n_processes if self.zero else 1
        self.weight_split = self.split if self.zero == 3 else 1
        # Autocast's copies of the weights, kept for the backward pass.
        casts = hardware.bf16 and not self.zero and float32
        self.cast_bytes = shape.matmul_params * BFLOAT16 if casts else 0
        self.n_rows = config.algo.rollouts_per_step // hardware.n_processes  # that one process learns from in a step
        self.n_tok = hardware.micro_batch * (lengths.learn_prompt_tok + lengths.completion_tok)  # of a micro-batch

    @property
    def sampled_at_once(self) -> list[tuple[int, int, int]]:
        """(rows, tokens of a prompt, of a completion) that the fullest process holds side by side: the judged rollouts
        of steps_per_rollout steps; at their first token what ends there, too; then their anchors. Judged ones lead each
        step, so it may hold no other."""
        config, lengths, algo = self.config, self.lengths, self.config.algo
        anchor = anchor_prompt_tok(config, lengths), anchor_tok(config, lengths)
        kinds = [
            (algo.judged_per_step, lengths.rollout_prompt_tok, lengths.completion_tok),
            (algo.judged_per_step + algo.first_toks_per_step, lengths.rollout_prompt_tok, 1),
            (algo.anchors_per_step, *anchor),
        ]
        return [(min(self.n_rows, n) * algo.steps_per_rollout, prompt_tok, tok) for n, prompt_tok, tok in kinds]

    @property
    def probed_at_once(self) -> tuple[int, int, int]:
        """The same of a probe, which every process holds whole: a batch of raw requests."""
        tracking = self.config.tracking
        n_rows = min(tracking.probe_batch, max(tracking.n_probe_harmful, tracking.n_probe_harmless))
        return n_rows, raw_prompt_tok(self.config, self.lengths), self.lengths.completion_tok

    def held(self) -> dict[str, float]:
        """GB that are there from the second step on, sampling or learning."""
        n_params, has_kl = self.shape.n_params, self.config.algo.has_kl
        # Adam's two moments; under DeepSpeed float32 ones and a float32 copy of the weight (ZeRO's paper: 12).
        optimiser_bytes = 12 if self.zero else 2 * self.trained_bytes
        n_bytes: dict[str, float] = {
            "libraries": (LIBRARIES_GB if self.config.hardware.device == "cpu" else CUDA_GB) * 1e9,
            "weights": n_params * self.weight_bytes / self.weight_split,
            "reference": n_params * self.weight_bytes / self.weight_split if has_kl and not self.lora else 0,
            "optimiser": 0 if self.offload else self.n_trained * optimiser_bytes / self.split,
        }
        if self.lora:
            n_bytes["adapter"] = self.n_trained * self.trained_bytes / self.weight_split
        return _gb(n_bytes)

    def sampling(self) -> dict[str, float]:
        """Bytes while this process writes completions, rollouts or a probe's, or while the weights go to vLLM."""
        shape, on_cpu = self.shape, self.config.hardware.device == "cpu"
        by_vllm = self.config.rollout.backend != "transformers"
        batches = [self.probed_at_once, *([] if by_vllm else self.sampled_at_once)]
        gathered = shape.n_params * self.weight_bytes
        casts, packed = 0 if on_cpu else self.cast_bytes, shape.matmul_params * self.compute_bytes if on_cpu else 0
        if by_vllm and not any(getattr(self.config.tracking, key) for key in PROBES):
            # An adapter is gathered and sent alone; without one TRL gathers a parameter at a time.
            adapter = self.n_trained * self.trained_bytes
            gathered = adapter if self.lora else shape.embedding_params * self.weight_bytes
            casts = packed = 0
        n_tok = max(n * (prompt_tok + tok) for n, prompt_tok, tok in batches)
        prompt_layer = max(n * prompt_tok for n, prompt_tok, _ in batches) * 3 * (shape.intermediate + shape.hidden)
        return {
            "gathered weights": gathered if self.zero == 3 else 0,
            "bfloat16 weights": casts,
            "packed weights": packed,
            "key-value cache": n_tok * shape.layers * 2 * shape.key * self.compute_bytes,
            "one layer of the prompts": prompt_layer * self.compute_bytes,
        }

    def learning(self) -> dict[str, float]:
        """Bytes in the backward pass; with one micro-batch gradients grow while activations go."""
        activations, gradients = self._activations(), self._gradients()
        if self.n_rows <= self.config.hardware.micro_batch:
            activations, gradients = (activations, 0.0) if activations > gradients else (0.0, gradients)
        # Beside DeepSpeed's live parameters the reference's head is held whole for as long as the policy's is scored.
        reference_head = self.shape.embedding_params if self.config.algo.has_kl else 0
        live_params = min(self.shape.n_params, LIVE_PARAMS) + reference_head
        return {
            "gradients": gradients,
            "activations": activations,
            "bfloat16 weights": self.cast_bytes,
            "head": self._head(),
            "gathered weights": live_params * self.weight_bytes if self.zero == 3 else 0,
        }

    def _gradients(self) -> float:
        if not self.zero:
            copies = 2 if self.config.hardware.n_processes > 1 else 1  # DDP's buckets hold them again
            return self.n_trained * self.trained_bytes * copies
        # One float32 number a parameter, split, beside the optimiser; while they are reduced a bucket more.
        kept = 0 if self.offload else self.n_trained * FLOAT32 / self.split
        return kept + min(self.n_trained, BUCKET_PARAMS) * BFLOAT16

    def _head(self) -> float:
        """Tiles of logits in float32, and a trained head's gradient; a tied one's as head and as embedding."""
        tiles = SCORE_TILES * min(TILE_TOK, self.n_tok) * min(TILE_VOCAB, self.shape.vocab) * FLOAT32
        gradients = 0 if self.lora else 1 + self.shape.tied
        return tiles + gradients * self.shape.embedding_params * self.weight_bytes

    def _activations(self) -> float:
        """What the backward pass keeps: every layer's tensors, or only each layer's input and one layer's tensors."""
        layer = self.n_tok * self._layer_bytes()
        if not self.config.hardware.gradient_checkpointing:
            return self.shape.layers * layer
        return self.shape.layers * self.n_tok * self.shape.hidden * self.compute_bytes + layer

    def _layer_bytes(self) -> int:
        """Bytes that one token leaves in one layer, read off the graph of transformers' LlamaDecoderLayer.

        Norms: the float32 input, the normalised one (for the weight's gradient) and the scaled one. Attention: queries,
        repeated keys and values, and the result. MLP: gate, its SiLU, up and their product.
        """
        shape, compute = self.shape, self.compute_bytes
        norm = shape.hidden * (FLOAT32 + (0 if self.lora else compute) + compute)
        attention = 4 * shape.query * compute
        mlp = 4 * shape.intermediate * compute
        adapters = 7 * self.config.peft.rank * compute if self.lora else 0
        if self.lora and compute == BFLOAT16:  # an adapter casts its input to float32 and autocast casts it back
            adapters += (5 * shape.hidden + shape.query + shape.intermediate) * compute
        if self.lora and self.config.hardware.device == "cpu":
            # Not kept: each linear layer's output before the adapter's is added, and the adapter's. Measured: glibc's
            # heap does not give the holes back that they leave between the tensors that are kept.
            outputs = shape.query + 2 * shape.key + 2 * shape.hidden + 2 * shape.intermediate
            adapters += 2 * outputs * compute
        return 2 * norm + attention + mlp + adapters
