"""The tripwires' section of the configuration: an action each, and when it trips. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cada_trl.config_loading import Fraction, Positive, Section

Action = Literal["off", "warn", "stop"]
NotNegative = Annotated[float, Field(ge=0.0)]


class TripwiresConfig(Section):
    """Values and their sources: hydra_conf/tripwires. The defaults are those of a run without tripwires: all off."""

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
    kl_jump_factor: NotNegative = 1.0
    kl_jump_nats: NotNegative = 0.0
    unscored: Action = "off"
    unscored_share_frac: Fraction = 1.0
    sampler_gap: Action = "off"
    sampler_gap_limit_nats: NotNegative = 0.0
    reward_without_safety: Action = "off"
    reward_gain: NotNegative = 0.0
    asr_floor_frac: Fraction = 0.0


WIRES = (
    "over_refusal",
    "empty_analysis",
    "copied_analysis",
    "length_collapse",
    "kl_jump",
    "unscored",
    "sampler_gap",
    "reward_without_safety",
)
