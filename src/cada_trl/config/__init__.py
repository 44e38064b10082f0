"""The typed, closed configuration of a run: hydra_conf/ composed by Hydra, checked by pydantic, hashed by content."""

from cada_trl.config.algo import AlgoConfig
from cada_trl.config.run_config import (
    CONF_DIR,
    PACKAGE_DIR,
    RECIPES_DIR,
    Config,
    check_config,
    config_hash,
    load_config,
    run_name,
    unread_words,
)
from cada_trl.config.sections import (
    DataConfig,
    HardwareConfig,
    JudgeConfig,
    ModelConfig,
    PromptConfig,
    RewardConfig,
    RolloutConfig,
    TripwiresConfig,
)

__all__ = [
    "CONF_DIR",
    "PACKAGE_DIR",
    "RECIPES_DIR",
    "AlgoConfig",
    "Config",
    "DataConfig",
    "HardwareConfig",
    "JudgeConfig",
    "ModelConfig",
    "PromptConfig",
    "RewardConfig",
    "RolloutConfig",
    "TripwiresConfig",
    "check_config",
    "config_hash",
    "load_config",
    "run_name",
    "unread_words",
]
