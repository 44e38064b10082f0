"""What a configuration refuses: each is one line that names it and repeats no password; its neighbours are taken."""

import pytest

from cada_trl.config import Config, load_config
from cada_trl.config.keys import UNREAD
from cada_trl.config.loading import as_override, check_values, leaf_paths
from cada_trl.errors import UserError
from cada_trl.evaluation.settings import EvaluateConfig, UtilityConfig, load_evaluate_config
from cada_trl.jobs.grid import SweepConfig

SECRET = "pass1234"
MISTYPED = {
    "bta_kl=1": "unknown key 'bta_kl'; did you mean beta_kl or benign_beta_kl?",
    "algo.beta=1": "unknown key 'algo.beta'; did you mean algo.beta_kl",
    "modle=smollm2": "unknown key 'modle'; did you mean model?",
    "+beta_kl=1": "unknown key '+beta_kl'; did you mean beta_kl or benign_beta_kl?",
    "xyzzy=1": "unknown key 'xyzzy'; no name is near it; --help lists them all",
    "model=smolm2": "model=smolm2: no such choice; did you mean smollm2?",
    "model=mine/base": "; your own: source=folder path=FOLDER name=mine, or source=hub path=ORG/NAME",
    "model=.": "; your own: source=folder path=FOLDER name=mine",
    "model=": "model=: no such choice; valid: deepseek_r1_distill_llama_8b",
    "algo=sft_case": "algo=sft_case: no such choice; did you mean sft_cases",
    "method=stf": "method=stf: no such method; did you mean sft?",
    "beta_kl": "'beta_kl' is not an override; expected key=value",
    "beta_kl=abc": "algo.beta_kl='abc': Input should be a valid number",
    "seed=1.5": "seed=1.5: Input should be a valid integer",
    "seed=-1": "seed=-1: Input should be greater than or equal to 0",
    "seed=5000000000": "seed=5000000000: Input should be less than or equal to 4294967295",
    "hint=yes": "prompt.hint='yes': Input should be a valid boolean",
    "beta_kl=-1": "algo.beta_kl=-1: Input should be greater than or equal to 0",
    "warmup_frac=1.0": "algo.warmup_frac=1.0: Input should be less than 1",
    "lr=inf": "algo.lr=inf: Input should be a finite number",
    "lr=nan": "algo.lr=nan",
    "file=": "data.file=''",
    "kl=k4": "algo.kl='k4'",
    "beta_kl=0.1,0.2": "algo.beta_kl takes one value here; several are for a sweep",
    "file=/a,b.jsonl": "needs quotes of its own",
    "beta_kl=${lr}": "write the value itself in place of ${...}",
    "run_name=2024": "a text that reads as a number has quotes of its own, as in \"run_name='2024'\"",
    "wandb_project='cada#1'": "at most 128 characters, without # ? % and :",
    "runs_dir='~/r'": "~ is the shell's; write the folder out",
    f"file=a({SECRET}": "cannot read the value of data.file; one with commas, blanks, brackets or signs",
    f"run_name={'x' * 300}": "xxx: expected a name",
}
MISFITS = {
    "kl=k1": "kl=k1 with kl_in=loss has no gradient",
    "kl_in=reward_sequence": "kl_in=reward_sequence takes kl=k1",
    "kl_in=reward_to_go kl=k1": "set learn_on=rollout or prompt=none",
    "kl_in=reward_sequence kl=k1 learn_on=rollout kl_direction=reverse": "own samples: set sampled_by=policy",
    "kl_in=reward_to_go kl=k1 prompt=none kl_direction=reverse sampled_by=policy top_p=0.9": "from a part of it",
    "kl=k3 kl_direction=forward": "kl_direction=forward is the exact KL's in the loss; kl=k3 kl_in=loss has a",
    "beta_kl=0.0 target_kl_nats=5.0": "target_kl_nats steers beta_kl by factors and cannot move it from 0",
    "benign_frac=0.03": "benign_frac=0.03 of 16 requests per step is none; set 0.0625, which is one, or 0.0",
    "first_tok_frac=0.05": "first_tok_frac=0.05 of 8 requests per step is none; set 0.125, which is one, or 0.0",
    "baseline=group": "baseline=group needs rollouts_per_request >= 2",
    "baseline=leave_one_out": "baseline=leave_one_out needs rollouts_per_request >= 2",
    "max_new_tok=8000": "max_prompt_tok + max_new_tok = 8256 exceeds the model's context_tok = 8192",
    "n_processes=2 micro_batch=4": "needs launcher=accelerate",
    "requests_per_step=12 micro_batch=5": "12 is not divisible by micro_batch x n_processes = 5",
    "hardware=a100x4 requests_per_step=10": "set requests_per_step to a multiple of n_processes = 4",
    "hardware=a100x4 rollout=vllm_server server_url=http://a:1 baseline=group requests_per_step=10 "
    "rollouts_per_request=4": "needs the 4 rollouts of a request in one process, and n_processes=4 cuts them apart",
    "save_every_steps=10 steps_per_rollout=4": (
        "save_every_steps=10 is no multiple of steps_per_rollout=4: a checkpoint between would lose rollouts; "
        "set save_every_steps=12"
    ),
    "twins=harmless": "twins=harmless is for the twins beside another source; data=twins trains on both rows",
    "n_probe=120": "n_probe=120 is not read with data=twins, whose probe is a fixed third of the pairs",
    "sampling=natural": "sampling=natural is not for data=twins",
    "data=beavertails n_train=null": "n_train=null is for data=twins; data=beavertails needs a number of rows",
    "data=jsonl n_probe=null": "n_probe=null is for data=twins; data=jsonl needs a number of rows",
}
OF_A_METHOD = {
    "algo=grpo benign_tok=8": "benign_tok=8: method=grpo does not read benign_tok",
    "algo=sft_cases steps_per_rollout=2": "steps_per_rollout=2: method=sft does not read steps_per_rollout",
    "algo=sft_cases beta_kl=0.1": "beta_kl=0.1: method=sft does not read beta_kl",
    "algo=sft_cases kl_direction=forward": "kl_direction=forward: method=sft does not read kl_direction",
    "algo=self_distillation beta_kl=0.1": "method=self_distillation implies beta_kl=1.0",
    "algo=self_distillation learn_on=rollout": "method=self_distillation does not read learn_on",
    "dpo_beta=0.1": "dpo_beta=0.1: method=cada does not read dpo_beta",
    "algo=grpo learn_on=request": "method=grpo implies learn_on=rollout",
    "algo=grpo rollouts_per_request=1": "baseline=group needs rollouts_per_request >= 2",
    "algo=sft_cases targets=null": "method=sft needs targets: without targets there is nothing to learn",
    "algo=dpo_cases targets=direct_refusal": "chosen and rejected equal in every DPO pair",
    "algo=sft_cases benign_frac=1.0 max_steps=null": "method=sft with max_steps set learns from harmless",
    "benign_frac=0.99": "benign_frac=0.99 leaves no harmful request in a step of 16",
    "algo=rejection_sft reward=judged_reasoning judge=rubric": "method=sft learns from no reward",
    "algo=self_distillation reward=judged_reasoning judge=rubric": "method=self_distillation learns from no reward",
    "benign_refused=-3.0": "benign_refused: no harmless request is paid with benign_frac=0.5 benign_tok=16",
    "algo=self_distillation prompt=none": "prompt=none shows the teacher what the student sees",
    "algo=grpo benign_frac=0.0 benign_answered=2.0": "no harmless request is paid with benign_frac=0.0",
    "benign_frac=0.0 benign_answered=2.0": "no harmless request is paid with benign_frac=0.0",
    "algo=sft_cases targets=opening benign_frac=0.5": "targets=opening is for method=sft on harmful requests",
}
NOT_READ = {
    "hub_id=x": "hub_id=x: nothing reads it with data=twins; leave it out, or change data",
    "classifier=llm": "classifier=llm: nothing reads it with data=twins",
    "data=jsonl file=a classifier=llm": "classifier=llm: nothing reads it with data=jsonl",
    "data=beavertails file=a hub_split=x": "nothing reads it with data=beavertails file=a",
    "licence=MIT": "nothing reads it with data=twins file=null",
    "decontaminate_n_gram=5": "benchmarks_dir=null",
    "revision=main": "source=embedded",
    "prompt=none n_cases=2": "n_cases=2: nothing reads it with prompt=none",
    "prompt=codes hint=false": "prompt=codes",
    "hint=false n_cases=2": "n_cases=2: nothing reads it with prompt=cases cases_by=hazard hint=False",
    "n_cases=0 cases_as=policy": "cases_as=policy: nothing reads it with prompt=cases n_cases=0",
    "algo=sft_direct_refusal prompt=cases n_cases=1": "n_cases=1: nothing reads it with targets=direct_refusal",
    "base_url=http://a/v1": "nothing reads it with judge=phrases",
    "judge=wildguard max_retries=1": "judge=wildguard base_url=null",
    "judge=classifier base_url=http://a/v1": "nothing reads it with judge=classifier",
    "data=paper benign_frac=0.5": "benign_frac=0.5 needs harmless requests, and data=beavertails twins=none has none",
    "benign_frac=0 benign_tok=8": "benign_tok=8: nothing reads it with benign_frac=0",
    "baseline=batch baseline_rate=0.5": "baseline=batch",
    "algo=sft_cases refusal_text=No": "nothing reads it with method=sft targets=own",
    "algo=sft_direct_refusal keep=reasoned_refusal benign_frac=0": "nothing reads it with targets=direct_refusal",
    "algo=dpo_cases peft=lora dropout=0.1": "dropout=0.1: nothing reads it with method=dpo",
    "lr_schedule=constant warmup_frac=0.2": "lr_schedule=constant",
    "epochs=2": "nothing reads it with max_steps=150; leave it out, or change max_steps",
    "server_url=http://a:1": "nothing reads it with rollout=transformers; leave it out, or change rollout",
    "rollout=vllm_colocate server_url=http://a:1": "rollout=vllm_colocate",
    "rollout=vllm_colocate tensor_parallel=2": "rollout=vllm_colocate",
    "accelerate_config=launch/cpu.yaml": "launcher=python",
    "rank=8": "nothing reads it with peft=none",
    "tracking=local wandb_project=x": "wandb=off local_tracker=none",
    "kl_jump=off kl_jump_factor=9": "kl_jump=off",
}
ADDRESSES = {
    f"judge=rubric base_url=https://me:{SECRET}@host/v1": "name its variable: api_key_env=MY_API_KEY",
    f"judge=rubric base_url='https://host/v1?key={SECRET}'": "name its variable: api_key_env=",
    f"judge=rubric base_url=https://host/v1?key={SECRET}": "it holds no password, ? or #",
    f"rollout=vllm_server server_url=http://u:{SECRET}@host:1": "vLLM's server takes none",
    f"rollout=vllm_server server_url=[http://a:1,http://u:{SECRET}@b:1]": "server_url.1: an address is",
    "rollout=vllm_server server_url=http://a:1,http://a:1": "expected one address or several different",
    "rollout=vllm_server server_url=[]": "expected one address or several different",
    f"judge=rubric api_key_env=sk-{SECRET}": "in capitals, as in OPENAI_API_KEY, not the key",
    "judge=rubric base_url=host/v1": "expected an address, as in http://127.0.0.1:8000/v1",
    "judge=rubric base_url=http://host:99999": "expected an address",
    "judge=rubric base_url=ftp://host": "expected an address",
}
OF_AN_EVALUATION = {
    f"attacker_base_url=http://u:{SECRET}@h attacker_llm=m": "attacker_api_key_env=MY_API_KEY",
    "seed=1": "seed=1: nothing reads it with limit=null",
    "n_gpu=2": "n_gpu=2: nothing reads it with backend=transformers",
    "attacker_llm=x attacker_base_url=http://a/v1 attacks=none,paraphrase n_streams=3": (
        "n_streams=3: nothing reads it with attacks=none,paraphrase; leave it out, or change attacks"
    ),
    "backend=vllm batch_tok=9": "backend=vllm",
    "n_streams=2": "attacker_llm=null",
}
OF_A_TRAINING = MISTYPED | MISFITS | OF_A_METHOD | NOT_READ | ADDRESSES


@pytest.mark.parametrize("words", [*OF_A_TRAINING, *OF_AN_EVALUATION])
def test_what_is_refused_is_one_line(words):
    load = load_config if words in OF_A_TRAINING else load_evaluate_config
    with pytest.raises(UserError) as error:
        load(words.split())
    assert (OF_A_TRAINING | OF_AN_EVALUATION)[words] in str(error.value)
    assert SECRET not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        "kl=k1 kl_in=reward_sequence learn_on=rollout kl_direction=reverse sampled_by=policy",
        "kl=k1 kl_in=reward_to_go prompt=none kl_direction=reverse sampled_by=policy",
        "algo=rloo top_p=0.95",
        "benign_refused=-3.0 benign_tok=null benign_beta_kl=null",
        "baseline=group rollouts_per_request=2",
        "baseline=batch",
        "kl=k3 kl_direction=reverse",
        "max_new_tok=7936",
        "benign_frac=0.0625 first_tok_frac=0.125",
        "save_every_steps=12 steps_per_rollout=4",
        "save_every_steps=7 steps_per_rollout=1",
        "file=a licence=MIT",
        "judge=wildguard base_url=http://a:1/v1 max_retries=1",
        "data=beavertails classifier=llm base_url=http://a/v1 llm=b",
        "epochs=2 max_steps=null",
        "peft=lora rank=8",
        "tracking=trackio wandb_project=x",
        "rollout=vllm_server server_url=http://a:1",
        "benign_frac=0 benign_tok=16",  # what the files say anyway
        "server_url=null",
        "recipe=smollm2/cada benign_frac=0",
    ],
)
def test_what_does_fit_and_is_read_or_says_nothing_new_is_taken(words):
    load_config(words.split())


def test_the_table_of_unread_keys_names_keys_that_are_there():
    schemas = (Config, EvaluateConfig, UtilityConfig, SweepConfig)
    known = {path for schema in schemas for path in leaf_paths(schema).values()}
    named = {word.partition("=")[0].rstrip("!") for conditions in UNREAD for word in conditions.split()}
    assert named | {key for keys in UNREAD.values() for key in keys.split()} <= known


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", ".x", "..", " a", "a\nb", "a\x07", "\u202eb", "x" * 201, ""])
@pytest.mark.parametrize("key", ["run_name", "name", "wandb_project"])
def test_a_name_that_is_no_folders_is_refused(key, name):
    config = load_config([])
    values = config.model_dump()
    section = next((part for part in values.values() if isinstance(part, dict) and key in part), values)
    section[key] = name
    with pytest.raises(UserError) as error:
        check_values(type(config), values)
    assert f"{key}=" in str(error.value) and "\n" not in str(error.value)


def test_a_name_of_any_alphabet_is_taken():
    assert load_config([as_override("run_name", "überprüfung-一号 2")]).run_name == "überprüfung-一号 2"
    assert load_config(["run_name=überprüfung-一号"]).run_name == "überprüfung-一号"
