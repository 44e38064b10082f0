"""The verb, with a Llama of two layers: what it prints, what it keeps, when it measures anew."""

import json
import re
import shlex

import pytest
from hazards.policy_file import example
from rich.console import Console

from cada_trl import card, policy
from cada_trl.config import load_config
from cada_trl.data.prepared import prepare
from cada_trl.document.render import show
from cada_trl.errors import UserError
from cada_trl.separability.card import kept_card
from cada_trl.tracking.manifest import build_manifest
from cada_trl.train import train
from tests.end_to_end.tiny_model import save_tiny_model, tiny_overrides
from tests.separability.made_up_card import CURVE, made_up_card


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("card")
    save_tiny_model(place / "model")
    return place


@pytest.fixture
def words(folder):
    return [*tiny_overrides(folder, folder / "model"), "n_train=24"]


def kept(folder):
    return sorted((folder / "data").glob("card-*.json"))


@pytest.mark.slow
def test_a_card_is_made_once_and_read_back_afterwards(folder, words, capsys, monkeypatch):
    config = load_config(words)
    assert kept_card(config, prepare(config)) is None
    assert card.main([*words, "--curve", "12,9999"]) == 0
    first = capsys.readouterr()
    assert (
        "StrongREJECT | XSTest safe: absent: strongreject/strongreject_dataset.csv (benchmarks_dir=null) and"
        in first.out
    )
    assert "9999 pairs: absent: the request set has fewer" in first.out
    assert "look harmful and are not" in first.out and "before any training" in first.out
    assert "states of" in first.err
    (file,) = kept(folder)
    values = json.loads(file.read_text())
    asked = [pair for pair in values["pairs"] if pair["absent"] is None]
    assert (len(values["pairs"]), [one["harmful"] for one in asked]) == (5, ["Held-out twins, harmful"])
    assert 0 <= asked[0]["probe"]["auc"]["low"] <= asked[0]["probe"]["auc"]["value"] <= 1

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(card, "make_card", never)
    for more in ([], ["--curve", "9999,12"]):
        assert card.main([*words, *more]) == 0
        second = capsys.readouterr().out
        assert second.replace("made already", "made") == first.out
    with pytest.raises(AssertionError, match="measured again"):
        card.main([*words, "--curve", "12"])
    with pytest.raises(AssertionError, match="measured again"):
        card.main([*words, "n_train=22"])
    found = kept_card(config, prepare(config))
    assert found.to_json() == values


def test_another_model_has_no_card(folder, words, tmp_path):
    if not kept(folder):
        card.main(words)
    config = load_config(words)
    other = config.model_copy(
        update={"model": config.model.model_copy(update={"path": str(save_tiny_model(tmp_path / "b", seed=1))})}
    )
    data = prepare(config)
    assert kept_card(config, data) is not None
    assert kept_card(other, data) is None


@pytest.mark.slow
def test_a_training_shows_the_card_that_is_there(folder, words):
    if not kept(folder):
        card.main(words)
    run = train(load_config(words))
    shown = json.loads((run / "manifest.json").read_text())["card"]
    assert shown["layer"] in {1, 2}
    assert [pair["absent"] is None for pair in shown["pairs"]] == [False, False, False, False, True]
    assert "Held-out twins, harmful" in (run / "report.html").read_text()


def test_a_gpu_that_is_not_here_is_one_line(words, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(UserError, match=r"1 CUDA GPU\(s\) wanted, 0 seen; set device=cpu"):
        card.main([*words, "device=cuda", "n_train=20"])


def test_a_training_makes_no_card(words):
    assert build_manifest(load_config(words), {}, {})["card"] is None


def test_the_words_after_curve_are_numbers_of_pairs():
    assert card.split_curve(["seed=1", "--curve", "300,75,75", "lr=1e-5"]) == (["seed=1", "lr=1e-5"], [75, 300])
    assert card.split_curve(["seed=1"]) == (["seed=1"], [])
    for given in (["--curve"], ["--curve", "0"], ["--curve", "75,"], ["--curve", "seed=1"]):
        with pytest.raises(UserError, match="expected numbers of pairs, as in --curve 75,150,300"):
            card.split_curve(given)


def printed(shown):
    console = Console(width=160)
    with console.capture() as capture:
        show(card.card_page(shown), console)
    return capture.get()


def test_the_curve_shows_mean_and_range_and_says_where_pairs_lack():
    assert card.curve_table(CURVE).rows == [
        ["StrongREJECT | XSTest safe", "AUC", "0.80 (0.78, 0.83)", "absent"],
        ["", "J", "0.80 (0.78, 0.83)", "absent"],
    ]
    assert "fitted on so many" in printed(made_up_card()) and "fitted on so many" not in printed(made_up_card(curve=[]))
    cells, lacking = card.curve_lines(made_up_card())
    assert cells.startswith("a pair: twins. Mean (lowest, highest) of 5 draws")
    assert lacking == "9000 pairs: absent: the request set has fewer"


def test_a_curve_without_twins_says_what_a_pair_is():
    assert "drawn together, since the set has no twins" in card.curve_lines(made_up_card(n_twins=0))[0]


def test_the_head_names_set_model_and_how_the_layer_was_chosen():
    head = card.head(made_up_card())
    assert "twins-01234567 with smollm2, before any training: 1000 harmful and 990 harmless training rows" in head
    assert "layer 20 of 30, chosen by cross-validation on the training rows (AUC 10: 0.81, 20: 0.90)" in head


@pytest.mark.slow
def test_a_policy_of_ones_own_has_a_card_by_the_command_that_check_prints(folder, words, tmp_path, capsys):
    mine = example(tmp_path)
    trades = ("a baker", "a tailor", "two nurses", "my piano teacher", "the choir", "students", "a florist", "a vet")
    with (mine / "policy.yaml").open("a", encoding="utf-8") as file:
        for trade in (*trades, "the post", "some painters", "an old sailor", "his cook"):
            pair = [f"Make {trade} {what}." for what in ("pay for damage that I did", "a fair offer for the flat")]
            file.write("  - {{hazard: tenancy, harmful: {}, harmless: {}}}\n".format(*pair))
    others = [word for word in words if not word.startswith(("data=", "file=", "n_train="))]
    assert policy.main(["check", str(mine), *others, "near_duplicate_jaccard=1.0"]) == 0
    command = re.search(r"python -m cada_trl\.card (.*); next:", capsys.readouterr().out)
    assert command and card.main(shlex.split(command[1])) == 0
    assert "12 pairs of twins among them" in " ".join(capsys.readouterr().out.split())
