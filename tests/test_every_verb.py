"""Every verb as a user types it: a wrong word is one line that says what to do, an edited run is refused by its file.

A new verb needs a case here. What a file may hold is in test_any_file.py, storage/test_reading.py and
models/test_damaged.py, what a key may hold in config/test_keys.py.
"""

import importlib
import json
from pathlib import Path

import pytest

from cada_trl.cli import VERBS
from cada_trl.errors import UserError
from cada_trl.report.run_record import Folder, of_training
from tests.report.made_up_run import seal, write_run

ROWS = {
    "bad.jsonl": '{"text": "a", "harmful": true, "hazard": "privacy"}\nno row\n',
    "good.jsonl": '{"text": "a", "harmful": true, "hazard": "privacy"}\n',
}
JUDGE = "judge=rubric llm=m base_url=http://127.0.0.1:9/v1"
# verb -> its words -> what the line must say
WRONG = {
    "train": {
        "--dryrun": "no option '--dryrun' here; expected key=value",
        "--local_rank=0": "--local_rank=0 comes from the deepspeed launcher, which is not used here",
        "lr=": "algo.lr='': Input should be a valid number",
        "lr=[1e-4": "cannot read the value of algo.lr; one with commas, blanks, brackets or signs needs quotes",
        "runs_dir=/proc/x --dry-run": "cannot write /proc/x: ",
        "data_dir=bad.jsonl/x --dry-run": "bad.jsonl is no folder; choose another folder",
        "policy=tenancy seed=1 policy=pharmacy --dry-run": "policy=tenancy policy=pharmacy: expected one policy",
        "policy=nope --dry-run": "cada_trl.policy new nope writes one",
        "hazards=nope --dry-run": "no such folder: nope; expected 'builtin' or a folder with pack.yaml",
        "data=jsonl file=. --dry-run": "cannot read .: Is a directory",
        "data=jsonl file=/dev/zero --dry-run": "cannot read /dev/zero: it is a device or a pipe",
        "data=jsonl file=bad.jsonl --dry-run": "bad.jsonl, row 2: not a JSON object",
        "hardware=a100x4": "4 CUDA GPU(s) wanted, 0 seen; choose another hardware=, such as cpu",
    },
    "prepare": {
        "data=jsonl file=bad.jsonl": "bad.jsonl, row 2: not a JSON object",
        "--fast": "no option '--fast' here",
    },
    "doctor": {"data=starter": "data=starter: no such choice; valid: beavertails, jsonl, paper, twins"},
    "evaluate": {
        "benchmarks=advbnch": "unknown benchmark 'advbnch'; did you mean advbench",
        "benchmarks=[]": "benchmarks is empty; expected names with commas",
        "benchmarks=bad.jsonl,nope.csv": "bad.jsonl, row 2: not a JSON object",
        "benchmarks=nope.csv": "cannot read nope.csv: No such file or directory",
        "benchmarks=advbench": "advbench/harmful_behaviors.csv is read below data_root, and none is given; make data",
        "suite=fast": "suite=fast: no such choice; valid: ",
        "suite=quick data_root=nope": "data_root=nope is not a folder",
        "attacks=piar": "did you mean pair",
        "model=nope": "model=nope is no choice, no folder and no hub id such as org/name",
        "model=runs/a path=runs/b/final": "path=runs/b/final: model=runs/a says already which model it is; give one",
        "policy=tenancy policy=pharmacy --dry-run": "policy=tenancy policy=pharmacy: expected one policy",
        "attacks=pair_adaptive": "none is configured",
        "limit=0": "limit=0: Input should be greater than or equal to 1",
        "hazards=nope": "no such folder: nope",
        "evals_dir=/proc/x": "cannot write /proc/x: ",
        f"{JUDGE} api_key_env=NO_SUCH_KEY": "environment variable NO_SUCH_KEY is not set; export the key",
        "n_streams=2": "n_streams=2: nothing reads it with attacker_llm=null",
    },
    "utility": {
        "tasks=nope": "unknown task 'nope'; valid: bbh, gsm8k, mmlu",
        "tasks=gsm9k": "unknown task 'gsm9k'; did you mean gsm8k",
        "data_root=nope": "data_root=nope is not a folder",
        "against=nope": "nope holds no finished task; expected a model's results",
        "limit=0": "limit=0: Input should be greater than or equal to 1",
        "model=runs/a source=hub": "source=hub: model=runs/a says already which model it is; give one of the two",
        "--dry-run": "no option '--dry-run' here",
    },
    "faithfulness": {
        "items=nope": "items=nope holds no probes/before.jsonl; expected a run folder",
        "faithfulness_dir=/proc/x": "cannot write /proc/x: ",
        "limit=0": "limit=0: Input should be greater than or equal to 1",
        "model=runs/a model.name=b": "model.name=b: model=runs/a says already which model it is; give one of the two",
        "keep_sentence=2": "unknown key 'keep_sentence'; did you mean keep_sentences",
        "judge=llamaguard3": "judge=llamaguard3 labels harm, and here refusals are counted",
        "chat=two_stage": "has no place for a begun answer",
    },
    "sweep": {
        "": "got nothing; expected axes of a training, as in beta_kl=0.0,0.01 seed=0,1",
        "--retri": "unknown flag --retri; did you mean --retry",
        "seed=0,1 --dry-run --status": "--dry-run --status: each asks for something else; give one of them",
        "beta_kl": "'beta_kl' is not an override",
        "beta_k=0.0,0.1": "unknown key 'beta_k'; did you mean beta_kl or benign_beta_kl? (no cell was started)",
        "beta_kl=0.1,": "cannot read the value of beta_kl; expected one value",
        "beta_kl=0.1,high": "beta_kl=high: algo.beta_kl='high': Input should be a valid number",
        "baseline=running,group": "baseline=group needs rollouts_per_request >= 2",
        "prompt=cases,cods": "prompt=cods: no such choice; did you mean codes",
        "prompt=none n_cases=1,2": "n_cases=1: nothing reads it with prompt=none",
        "seed=0,1 timeout_s=3": "timeout_s=3: nothing reads it with judge=phrases",
        "seed=shuffle(range(0,1000000000))": "1000000000 cells, a sweep has at most 1000; give fewer values",
        "seed=range(0,50) lr=range(1,50)": "these axes: 2450 cells, a sweep has at most 1000",
        "seed=range(5,0)": "has no value; expected values, as in seed=0,1",
        "seed=range(1,5,0)": "a step of 0 never ends",
        "algo=glob(nope*)": "has no value; expected a pattern of cada, ",
        "lr=glob(c*)": "glob() takes a group",
        "lr=interval(0,1)": "list values, or search it with search=optuna",
        "threads=1,2": "threads=1 and threads=2 are the same run",
        "runs_dir=a,b": "runs_dir=a and runs_dir=b are the same run",
        "run_name=mine": "run_name would put every cell into one folder",
        "seed=0,1 sweep_name=../x": "sweep_name='../x': expected a name",
        "seed=0,1 sweeps_dir=/proc/x": "cannot write /proc/x/seed-",
        "seed=0,1 data=jsonl file=nope.jsonl --dry-run": "cannot read nope.jsonl",
        "seed=0,1 n_trials=5": "n_trials=5: nothing reads it with search=grid",
        "seed=0,1 max_hours=nan": "max_hours=nan: Input should be a finite number",
        "jobs=0": "jobs=0: Input should be greater than or equal to 1",
        "submit=elsewhere": "submit='elsewhere'",
        "launcher=slurm jobs=2": "jobs=2: nothing reads it with submit=slurm",
        "ablation= --dry-run": "ablation=: no such card; ",
        "ablation=learnon": "ablation=learnon: no such card; did you mean learn_on",
        "ablation=kl ablation=baseline": "ablation=kl ablation=baseline: a sweep answers one card's question",
        "search=optuna lr=interval(1e-4,1e-6)": "lr=interval",
        "search=optuna lrr=interval(1e-6,1e-4)": "unknown key 'lrr'; did you mean lr",
        "search=optuna lr=tag(logg,interval(1e-6,1e-4))": "unknown tag logg; expected log, as in",
        "search=optuna lr=1e-5,abc,1e-4": "lr=abc",
        "search=optuna n_train=interval(12,24)": "n_train=12.0: Input should be a valid integer",
        "search=optuna beta_kl=interval(-1.0,0.5)": "beta_kl=-1.0",
        "search=optuna launcher=slurm": "runs here: leave launcher=slurm out",
        "search=optuna model=llama3 hardware=a100x16": "search=optuna runs here: choose a hardware of one machine",
        "search=optuna recipe=smollm2/cada lr=interval(1e-6,1e-4) timeout_s=3": "timeout_s=3: nothing reads it",
        "search=optuna n_probe_harmless=0": "reads the probes of both kinds; set n_probe_harmful= and n_probe",
        "search=optuna evaluate=quick evaluate.benchmarks=strongreject": (
            "evaluate.benchmarks= has asr alone; add a set of the other kind"
        ),
        "evaluate=quik": "evaluate=quik: no such suite; did you mean quick",
        "evaluate.limit=3": "evaluate.limit=3 needs an evaluation; add evaluate=quick",
        "evaluate=quick evaluate.model=llama3": "a sweep evaluates its own models",
        "evaluate=quick evaluate.path=/x --dry-run": "evaluate.path=/x: a sweep evaluates its own models",
        "evaluate=quick evaluate.model.source=hub --dry-run": "evaluate.model.source=hub: a sweep evaluates its own",
        "evaluate=quick evaluate.name=x --dry-run": "evaluate.name=x: a sweep evaluates its own models",
        "evaluate=quick evaluate.revision=x --dry-run": "evaluate.revision=x: a sweep evaluates its own models",
        "evaluate=quick evaluate.shard=1/2": "a part has no scores, and no cell would be done",
    },
    "table": {
        "table=9": "table=9: Input should be 1, 2, 3 or 4",
        "data_root=nope": "data_root=nope is not a folder; make data DATA_ROOT=nope fills one",
        "--retry": "no option '--retry' here",
        "seeds=-1": "seeds=-1: expected numbers from 0, each once",
        "seeds=0,0": "seeds=0,0: expected numbers from 0, each once",
        "sedes=0": "unknown key 'sedes'; did you mean seeds",
        "limit=0": "limit=0: Input should be greater than or equal to 1",
        "table=3 rows=cadda": "table 3 has no row 'cadda'; did you mean cada",
        "table=3 columns=gsm8k": "table 3 has no column 'gsm8k'; valid: advbench, hex_phi, strongreject",
        "table=3 columns=advbench": "no cell of Table 3, smollm2: attack success rates after training can be asked",
        "evaluate=limit=3": "evaluate=limit=3: the table sets model, prompt, arm, suite, benchmarks, attacks, limit",
        "evaluate=prompt=cases": "evaluate=prompt=cases: the table sets model, prompt, arm,",
        "evaluate=arm=cases": "evaluate=arm=cases: the table sets model, prompt, arm,",
        "evaluate=suite=quick": "evaluate=suite=quick: the table sets model, prompt, arm,",
        "evaluate=benchmarks=advbench": "evaluate=benchmarks=advbench: the table sets model, prompt, arm,",
        "evaluate=shard=1/2": "evaluate=shard=1/2: the table sets model, prompt, arm,",
        "evaluate=path=/x --dry-run": "evaluate=path=/x: the table sets model, prompt, arm,",
        "utility=model.source=hub --dry-run": "utility=model.source=hub: the table sets model, tasks, limit, source,",
        "train=seed=4": "and give seeds=, limit= and weights= to the table",
        "train=algo.kl=k1": "train=algo.kl=k1: the table sets model, algo, method,",
        "train=run_name=x": "train=run_name=x: the table sets model, algo, method,",
        "table=4 utility=tasks=mmlu": "utility=tasks=mmlu: the table sets model, tasks, limit,",
        "table=3 rows=cada train=max_stepz=1": "unknown key 'max_stepz'; did you mean max_steps",
        "table=3 rows=none evaluate=judge=jury": "judge=jury: no such choice",
        "table=3 rows=none weights=/w evaluate=max_new_tok=0": "max_new_tok=0: Input should be greater",
    },
    "card": {"data=jsonl file=bad.jsonl": "bad.jsonl, row 2"},
    "report": {
        "": "the following arguments are required: FOLDER; python -m cada_trl.report --help lists what there is",
        "runs/nope": "no such folder: runs/nope; expected runs/<name>",
        ".": ". is no folder of a run",
        ". --judge-cards nope": "argument --judge-cards: nope is no folder",
        ". --out=": "argument --out: an empty word is no folder",
        ". --out ~/page": "argument --out: ~/page: ~ is the shell's; write the folder out",
        ". runs/..": "a folder is given twice",
    },
    "certificate": {
        "a": "1 folder(s) given; expected two different evaluations",
        "a b": "no such folder: a",
        "a a": "expected two different evaluations, as in evals/<before> evals/<after>",
        "a b --out=": "argument --out: an empty word is no folder",
        "a b --judge-cards nope": "argument --judge-cards: nope is no folder",
        "a b --judge-cards=": "argument --judge-cards: an empty word is no folder",
        "--chek a": "unrecognized arguments: --chek; python -m cada_trl.certificate --help lists what there is",
        "--check a --out b": "--check takes one certificate.json alone",
        "--check good.jsonl": "certificate: ",
    },
    "export-eval": {
        "": "the following arguments are required: FOLDER",
        "evals/nope": "no such folder: evals/nope",
        "a --out=": "argument --out: an empty word is no folder",
        "a --ouut b": "unrecognized arguments: --ouut b",
        "x/a y/a": "two of the folders have one name",
    },
    "tamper": {
        "": "got nothing; expected one model and key=value, as in runs/NAME steps=10",
        "smollm2 opener=": "opener='': String should have at least 1 character",
        "smollm2 --retry": "expected one model and key=value",
        "bad.jsonl": "model=bad.jsonl is no choice, no folder and no hub id",
        "smollm2 tampers_dir=/proc/x --dry-run": "cannot write /proc/x: ",
        "smollm2 data_dir=bad.jsonl/x --dry-run": "bad.jsonl is no folder; choose another folder",
        "smollm2 twins_file=nope.jsonl": "cannot read nope.jsonl",
    },
    "rehearse": {
        "betakl=1": "unknown key 'betakl'; did you mean beta_kl",
        "data=jsonl file=nope.jsonl": "cannot read nope.jsonl",
        "hardware=a100x4 requests_per_step=3": "is not divisible by micro_batch x n_processes = 8; set",
    },
    "why": {
        "": "the following arguments are required: FOLDER",
        "runs/a runs/b --out=": "argument --out: an empty word is no folder",
        "runs/a": "1 folder(s) given; expected two different ones",
        "runs/a runs/b/../a": "2 folder(s) given; expected two different ones",
        "runs/a runs/b": "no such folder: runs/a",
        "a b --tolerance nan": "argument --tolerance: nan is no gap; expected a number from 0, as in 0.01",
        "a b --tolerance -1": "-1 is no gap",
        "a b --tolerance inf": "inf is no gap",
        "a b --tolerance wide": "wide is no gap",
        "a b --tol 1": "unrecognized arguments: --tol 1",
    },
    "export": {
        "": "got nothing; expected one run folder",
        "a b": "expected one run folder",
        "nope": "no such run folder: nope",
        ".": "is no run folder",
        ". too=x": "did you mean to",
        "nope push=name": "push=name is no hub id; expected org/name",
        "twins": "expected to=<folder> with twins",
        "twins to=x evals=evals/a": "evals=evals/a stands in a model's card",
    },
    "chat": {
        "": "got nothing; expected one run folder",
        "nope": "no such run folder: nope",
        "a max_new_tok=0": "max_new_tok='0': Input should be greater than or equal to 1",
        "a analysis=maybe": "analysis='maybe': Input should be 'show' or 'hide'",
    },
    "policy": {
        "": "got nothing; expected new NAME, check NAME or rank NAME",
        "check": "got check; expected new NAME",
        "new a b": "got new a b; expected new NAME",
        "chekc a": "got chekc a; expected new NAME",
        "check nope": "no file policies/nope/policy.yaml; there are: pharmacy, tenancy",
        "new bad.jsonl/x": "cannot write bad.jsonl/x/policy.yaml: ",
        "new Mine": "expected small letters",
        "check pharmacy policy=tenancy": "policy=tenancy: pharmacy is checked; give one policy",
        "rank pharmacy n_twins=0": "n_twins=0: expected how many twins",
    },
    "data": {
        "": "got nothing; expected data_root=<folder>",
        "data_root=bad.jsonl": "cannot write bad.jsonl/.downloads",
    },
    "judge-card": {
        "labels=nope": "no folder nope; give labels=FOLDER",
        "judge=jury": "judge=jury: no such choice; valid: ",
    },
}
CASES = [(verb, words, said) for verb, cases in WRONG.items() for words, said in cases.items()]


def called(verb, words):
    module = f"cada_trl.{VERBS[verb]}{'.__main__' if verb == 'report' else ''}"
    importlib.import_module(module).main(words.split())


def test_every_verb_has_a_case():
    assert WRONG.keys() == VERBS.keys()


@pytest.mark.parametrize(("verb", "words", "said"), CASES)
def test_a_wrong_word_is_one_line(verb, words, said, tmp_path, monkeypatch):
    if "search=optuna" in words:
        pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    for name, text in ROWS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refusal:
        called(verb, words)
    line = str(refusal.value)
    assert said in line and "\n" not in line and len(line) < 700
    assert {path.name for path in tmp_path.iterdir()} <= ROWS.keys() | {"data", "evals", "runs"}


WORDS = {
    "report": "RUN",
    "evaluate": "model=RUN --dry-run",
    "faithfulness": "model=RUN --dry-run",
    "utility": "model=RUN",
    "tamper": "RUN --dry-run",
    "export": "RUN to=out",
    "chat": "RUN ask=Hello",
    "why": "RUN other",
}
EDITS = {
    "config.yaml": lambda text: text.replace("seed: 0", "seed: 1"),
    "manifest.json": lambda text: text.replace("phrases-12345678", "panel-12345678"),
}


def ended_run(path):
    """As train leaves it, with a model that nothing here loads."""
    write_run(path, 0, 1)
    seal(path)
    (path / "final").mkdir()
    (path / "final" / "config.json").write_text(json.dumps({}))
    return path


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("verb", WORDS)
def test_an_edited_run_is_refused_by_the_name_of_the_file(verb, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended_run(Path("other"))
    file = ended_run(Path("run")) / name
    text = file.read_text(encoding="utf-8")
    file.write_text(EDITS[name](text), encoding="utf-8")
    assert file.read_text(encoding="utf-8") != text
    with pytest.raises(UserError, match=rf"^run/{name} was edited after it was written: .*; restore it, or move"):
        called(verb, WORDS[verb].replace("RUN", "run"))
    assert not Path("out").exists()


@pytest.mark.parametrize("name", EDITS)
def test_an_evaluations_page_does_not_take_the_edited_file_of_its_training(name, tmp_path):
    run = ended_run(tmp_path / "run")
    record = Folder(tmp_path / "evals" / "a", {}, {"model": {"source": "folder", "path": str(run / "final")}})
    assert of_training(record).path == run
    (run / name).write_text(EDITS[name]((run / name).read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError, match=f"{name} was edited after it was written"):
        of_training(record)
