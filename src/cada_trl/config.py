"""The typed, closed configuration: hydra_conf/ composed by Hydra, checked by pydantic, hashed by content.

Importable without torch, so that a wrong key fails in a second. Values live in hydra_conf/ only, each with its source;
this file holds names, types and bounds. A leaf name is unique in the whole schema, so `beta_kl=0.1` is enough on the
command line and means `algo.beta_kl=0.1` (config_loading.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cada_trl.algo_config import AlgoConfig, check_algo
from cada_trl.config_checks import check_data, check_sampling, divisible, no_correction
from cada_trl.config_loading import Fraction, NonNegative, Positive, Section, check_values, compose_config
from cada_trl.storage.digest import content_hash
from cada_trl.tripwires.settings import TripwiresConfig

PACKAGE_DIR = Path(__file__).parent
CONF_DIR = PACKAGE_DIR.parents[1] / "hydra_conf"


class ModelConfig(Section):
    """A model and what its tokenizer must look like."""

    name: str
    source: Literal["embedded", "hub", "folder"]
    path: str  # hub id, folder, or the name of the embedded weights
    revision: str | None
    gated: bool
    dtype: Literal["float32", "bfloat16"]
    context_tok: Positive
    eos: str  # the token that ends an assistant turn; checked against the tokenizer
    pad: str  # may equal eos: masks come from lengths, never from token ids
    chat: Literal["template", "two_stage", "two_stage_reasoning_only"] = "template"  # at evaluation: two_stage.py
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
    hint: bool  # give the request's hazard to the prompt; off takes every hazard's code and no case


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

    kind: Literal["phrases", "rubric", "strongreject", "xstest", "wildguard", "llamaguard3", "harmbench"]
    judge_sees: Literal["final_response", "completion", "completion_and_prompt"]  # training: the first
    base_url: str | None  # null: a guard model's weights are read in this process
    llm: str | None  # the endpoint's name for it; without an endpoint a hub id or a folder
    api_key_env: str | None
    timeout_s: Annotated[float, Field(gt=0.0)]
    max_retries: NonNegative
    max_calls: Positive


class RolloutConfig(Section):
    """How completions are sampled."""

    backend: Literal["transformers", "vllm_colocate", "vllm_server"]
    temperature: Annotated[float, Field(gt=0.0)]
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]
    max_new_tok: Positive
    # vLLM's; None where a run was written before them
    importance_cap: Annotated[float, Field(ge=1.0)] | None = None  # null: no correction of its sampling probabilities
    server_url: str | None = None


class HardwareConfig(Section):
    """Where it runs; nothing here changes the maths."""

    device: Literal["cpu", "cuda"]
    accelerator: Literal["a100_40gb", "a100_80gb", "h100_80gb"] | None = None  # plans only; null: the GPU that is here
    launcher: Literal["python", "accelerate"]
    accelerate_config: str | None
    n_processes: Positive
    threads: NonNegative  # CPU threads a process; 0 leaves the library's choice
    micro_batch: Positive  # sequences a forward pass on one process
    bf16: bool
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
    wandb_project: str
    local_tracker: Literal["none", "tensorboard", "trackio"] = "none"
    probe_every_steps: NonNegative  # 0: only before and after
    probe_batch: Positive
    n_probe_harmful: NonNegative
    n_probe_harmless: NonNegative
    header_every_steps: NonNegative = 0  # 0: only before and after
    n_header_pairs: NonNegative = 0  # held-out twins that P(header) is measured on; 0 in runs of before it was
    save_every_steps: Positive
    save_total_limit: Annotated[int, Field(ge=2)]  # the last whole one must outlive the writing of the next


class Config(Section):
    """One run. Every field is needed; hydra_conf/config.yaml composes them."""

    seed: NonNegative
    runs_dir: str
    run_name: str | None  # null: <model>-<hash8>-s<seed>
    data_dir: str
    hazards: str  # "builtin" or a folder with a case pack
    model: ModelConfig
    data: DataConfig
    prompt: PromptConfig
    reward: RewardConfig
    judge: JudgeConfig
    algo: AlgoConfig
    rollout: RolloutConfig
    hardware: HardwareConfig
    peft: PeftConfig
    tracking: TrackingConfig
    tripwires: TripwiresConfig = TripwiresConfig()  # all off where a run was written before them

    @model_validator(mode="after")
    def _cross_checks(self) -> Config:
        algo, rollout, hardware = self.algo, self.rollout, self.hardware
        check_algo(algo)
        check_data(self.data)
        if self.reward.reasoning == "judged" and not self.judge.base_url:
            raise ValueError(f"reasoning=judged needs a judge behind an endpoint, not {self.judge.kind}: judge=rubric")
        if algo.kl == "k1" and algo.kl_in == "loss":
            raise ValueError(
                "kl=k1 with kl_in=loss has no gradient in expectation; set kl=exact or kl_in=reward_sequence"
            )
        if algo.target_kl_nats is not None and algo.beta_kl == 0.0:
            raise ValueError(
                "target_kl_nats steers beta_kl by factors and cannot move it from 0; start with beta_kl=0.01"
            )
        if algo.kl_in != "loss" and algo.kl != "k1":
            raise ValueError(f"kl_in={algo.kl_in} takes kl=k1, not kl={algo.kl} (its gradient there is another)")
        if algo.kl_in != "loss" and algo.learn_on == "request" and self.prompt.arm != "none":
            raise ValueError(
                f"kl_in={algo.kl_in} needs samples of the learned prompt; set learn_on=rollout or prompt=none"
            )
        if why_not := no_correction(self):
            raise ValueError(f"importance_cap={rollout.importance_cap} {why_not}")
        if rollout.backend == "vllm_server" and not rollout.server_url:
            raise ValueError("rollout=vllm_server needs server_url, such as http://127.0.0.1:8000")
        if algo.baseline in {"group", "leave_one_out"} and algo.rollouts_per_request < 2:
            raise ValueError(
                f"baseline={algo.baseline} needs rollouts_per_request >= 2; 1 takes running, batch or none"
            )
        n_rollouts = algo.rollouts_per_step
        per_pass = hardware.micro_batch * hardware.n_processes
        if n_rollouts % per_pass:
            raise ValueError(
                f"requests_per_step x rollouts_per_request = {n_rollouts} is not divisible by "
                f"micro_batch x n_processes = {per_pass}; {divisible(n_rollouts, hardware)}"
            )
        check_sampling(self)
        if self.data.max_prompt_tok + rollout.max_new_tok > self.model.context_tok:
            raise ValueError(
                f"max_prompt_tok + max_new_tok = {self.data.max_prompt_tok + rollout.max_new_tok} exceeds the model's "
                f"context_tok = {self.model.context_tok}"
            )
        if hardware.n_processes > 1 and hardware.launcher == "python":
            raise ValueError("n_processes > 1 needs launcher=accelerate")
        return self


def load_config(overrides: list[str]) -> Config:
    """Compose hydra_conf/config.yaml with `key=value` overrides and check it. Errors: UserError. Imports no torch."""
    return compose_config(Config, CONF_DIR, "config", overrides)


def check_config(values: Any) -> Config:
    """Typed configuration from plain values (a run folder's config.yaml). Errors: UserError."""
    return check_values(Config, values)


_NOT_PART_OF_THE_RESULT = {"runs_dir", "run_name", "data_dir", "hardware", "tracking", "tripwires"}


def config_hash(config: Config) -> str:
    """First 8 hex digits of the SHA-256 of what decides the result: all but output, tracking, hardware, seed."""
    left_out: dict[str, Any] = dict.fromkeys(_NOT_PART_OF_THE_RESULT | {"seed"}, True)
    values = config.model_dump(exclude=left_out | {"rollout": {"server_url"}, "model": {"chat"}})
    return content_hash(values)


def run_name(config: Config) -> str:
    """The run folder's name: the given one, or <model>-<hash8>-s<seed>."""
    return config.run_name or f"{config.model.name}-{config_hash(config)}-s{config.seed}"
