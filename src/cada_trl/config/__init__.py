"""The typed, closed configuration of a run: hydra_conf/ composed by Hydra, checked by pydantic, hashed by content."""

from cada_trl.config.run_config import CONF_DIR as CONF_DIR
from cada_trl.config.run_config import PACKAGE_DIR as PACKAGE_DIR
from cada_trl.config.run_config import RECIPES_DIR as RECIPES_DIR
from cada_trl.config.run_config import Config as Config
from cada_trl.config.run_config import check_config as check_config
from cada_trl.config.run_config import config_hash as config_hash
from cada_trl.config.run_config import load_config as load_config
from cada_trl.config.run_config import run_name as run_name
from cada_trl.config.run_config import unread_words as unread_words
from cada_trl.config.sections import DataConfig as DataConfig
from cada_trl.config.sections import HardwareConfig as HardwareConfig
from cada_trl.config.sections import JudgeConfig as JudgeConfig
from cada_trl.config.sections import ModelConfig as ModelConfig
from cada_trl.config.sections import PromptConfig as PromptConfig
from cada_trl.config.sections import RewardConfig as RewardConfig
from cada_trl.config.sections import TripwiresConfig as TripwiresConfig
