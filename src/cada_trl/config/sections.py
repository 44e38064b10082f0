"""The sections of a run's configuration: names, types, bounds. Values live in hydra_conf/ only, each with its source.

A leaf name is unique in the whole schema, so `beta_kl=0.1` is enough on the command line and means `algo.beta_kl=0.1`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from cada_trl.config.loading import Fraction, NonNegative, Positive, Section
from cada_trl.config.texts import Address, Addresses, Name, Project, Variable

Weight = Annotated[float, Field(ge=0.0)]
Action = Literal["off", "warn", "stop"]
OFFLINE_JUDGES = {"phrases", "classifier"}
CPU_INFO = Path("/proc/cpuinfo")


def _of_this_cpu(bf16: Any, info: ValidationInfo) -> Any:
    """auto, on a CPU: where it multiplies in bfloat16; without AVX512_BF16 or AMX that is slower than float32."""
    if bf16 != "auto" or info.data.get("device") != "cpu":
        return bf16
    flags = set(CPU_INFO.read_text().split()) if CPU_INFO.is_file() else set()
    return bool(flags & {"avx512_bf16", "amx_bf16"})


class ModelConfig(Section):
    """A model and what its tokenizer must look like."""

    name: Name
    source: Literal["embedded", "hub", "folder"]
    path: str  # hub id, folder, or the name of the embedded weights
    revision: str | None
    gated: bool
    dtype: Literal["float32", "bfloat16"]
    context_tok: Positive
    eos: str  # the token that ends an assistant turn; checked against the tokenizer
    pad: str  # may equal eos: masks come from lengths, never from token ids
    chat: Literal["template", "two_stage", "two_stage_reasoning_only"] = "template"  # how it is evaluated
    n_params: Positive
    trust_remote_code: bool


class DataConfig(Section):
    """Where the requests come from and how they are filtered and split."""

    dataset: Literal["twins", "beavertails", "jsonl"]
    file: str | None  # a local file; null: the embedded twins, or the hub's copy of BeaverTails
    hub_id: str | None
    hub_revision: str | None
    hub_split: str | None
    licence: str
    classifier: Literal["reviewed", "lexical", "llm"]
    # of the embedded twins, what is trained on beside the source's own rows; the default is for runs of before them
    twins: Literal["both", "harmless", "none"] = "harmless"
    sampling: Literal["natural", "stratified"]
    n_train: Positive | None  # with data=twins pairs, null for all; else the source's own rows
    n_probe: Positive | None  # of the source's own rows; null with data=twins, whose probe is a fixed third
    held_out_hazards: list[str]
    max_prompt_tok: Positive
    near_duplicate_jaccard: Fraction
    benchmarks_dir: str | None  # folder with evaluation sets: decontamination, the XSTest probe where there is one
    decontaminate_n_gram: Positive


class PromptConfig(Section):
    """How rollout prompts are written (design: prompting)."""

    arm: Literal["none", "codes", "codes_of_hazard", "cases", "no_cases"]
    cases_as: Literal["policy", "turns"]
    n_cases: NonNegative
    # the request's hazard's first, or those of all hazards that are nearest to it; the default is for runs of before it
    cases_by: Literal["hazard", "similarity"] = "hazard"
    hint: bool  # give the request's hazard to the prompt; off takes every hazard's code and no case
    # what marks the analysis: our headers, or a reasoning model's own <think> tags; the default is as that of cases_by
    reasoning_as: Literal["headers", "think"] = "headers"

    @model_validator(mode="after")
    def _cross_checks(self) -> PromptConfig:
        if self.arm == "cases" and self.cases_by == "similarity" and not self.n_cases:
            raise ValueError("cases_by=similarity with n_cases=0 shows nothing; set n_cases, or cases_by=hazard")
        if self.arm == "cases" and self.cases_as == "turns" and self.reasoning_as == "think":
            raise ValueError(
                "cases_as=turns with reasoning_as=think: reasoning models' chat templates leave <think> out of earlier "
                "turns, and the analyses with it; set cases_as=policy"
            )
        return self


class RewardConfig(Section):
    """The paper's table, and ours for harmless requests in the batch."""

    complied: float
    direct_refusal: float
    reasoned_refusal: float
    benign_refused: float
    benign_answered: float
    benign_reasoned_answer: float
    reasoning: Literal["present", "judged"] = "present"  # judged: an LLM's grade of it scales the pay for it


class JudgeConfig(Section):
    """Who says REFUSED or COMPLIED, and harmful or not."""

    kind: Literal[
        "phrases",
        "classifier",
        "rubric",
        "strongreject",
        "xstest",
        "gpt_oss_safeguard",
        "wildguard",
        "llamaguard3",
        "harmbench",
        "panel",
    ]
    members: list[str] = Field(default_factory=list)  # of a panel: files of hydra_conf/judge
    judge_sees: Literal["final_response", "completion", "completion_and_prompt"]  # training: the first
    base_url: Address | None  # null: a guard model's weights are read in this process
    llm: str | None  # the endpoint's name for it; without an endpoint a hub id or a folder
    api_key_env: Variable | None
    timeout_s: Annotated[float, Field(gt=0.0)]
    max_retries: NonNegative
    max_calls: Positive

    @property
    def n_models(self) -> int:
        """Models that are asked about each response."""
        return sum(name not in OFFLINE_JUDGES for name in self.members or [self.kind])


class RolloutConfig(Section):
    """How completions are sampled."""

    backend: Literal["transformers", "vllm_colocate", "vllm_server"]
    temperature: Annotated[float, Field(gt=0.0)]
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]
    max_new_tok: Positive
    # vLLM's; None where a run was written before them
    importance_cap: Annotated[float, Field(ge=1.0)] | None = None  # null: no correction of its sampling probabilities
    server_url: Addresses = None  # of one server or of several, between which the prompts are split
    tensor_parallel: Positive = 1  # GPUs, or processes of a CPU, that share a server's weights


class HardwareConfig(Section):
    """Where it runs; nothing here changes the maths but for the precision of bf16."""

    device: Literal["cpu", "cuda"]
    accelerator: Literal["a100_40gb", "a100_80gb", "h100_80gb"] | None = None  # plans only; null: the GPU that is here
    launcher: Literal["python", "accelerate"]
    accelerate_config: str | None
    n_processes: Positive
    threads: NonNegative  # CPU threads per process; 0 leaves the library's choice
    micro_batch: Positive  # sequences a forward pass on one process
    bf16: Annotated[bool, BeforeValidator(_of_this_cpu)]  # or auto: true where the CPU has products in it
    gradient_checkpointing: bool


class PeftConfig(Section):
    """Full fine-tuning or LoRA (the reference is then the model with its adapter off)."""

    adapter: Literal["none", "lora"]
    rank: Positive
    alpha: Positive
    dropout: Fraction
    target_modules: str


class TrackingConfig(Section):
    """What is logged, probed and saved."""

    wandb: Literal["off", "offline", "online"]
    wandb_project: Project
    local_tracker: Literal["none", "tensorboard", "trackio"] = "none"
    probe_every_steps: NonNegative  # 0: only before and after
    probe_batch: Positive
    n_probe_harmful: NonNegative
    n_probe_harmless: NonNegative
    header_every_steps: NonNegative = 0  # 0: only before and after
    n_header_pairs: NonNegative = 0  # held-out twins that P(header) is measured on; 0 in runs of before it was
    save_every_steps: Positive
    save_total_limit: Annotated[int, Field(ge=2)]  # the last whole one must outlive the writing of the next


class TripwiresConfig(Section):
    """What a run warns of or stops at. The defaults are those of a run without tripwires: all off."""

    window_rows: Positive = 32
    over_refusal: Action = "off"
    over_refusal_frac: Fraction = 1.0
    empty_analysis: Action = "off"
    empty_analysis_words: Positive = 1
    empty_analysis_frac: Fraction = 1.0
    copied_analysis: Action = "off"
    copied_n_gram: Positive = 6
    copied_analysis_frac: Fraction = 1.0
    length_collapse: Action = "off"
    length_collapse_frac: Fraction = 0.0
    kl_jump: Action = "off"
    kl_jump_factor: Weight = 1.0
    kl_jump_nats: Weight = 0.0
    unscored: Action = "off"
    unscored_share_frac: Fraction = 1.0
    silent_judge: Action = "off"
    sampler_gap: Action = "off"
    sampler_gap_limit_nats: Weight = 0.0
    reward_without_safety: Action = "off"
    reward_gain: Weight = 0.0
    asr_floor_frac: Fraction = 0.0
