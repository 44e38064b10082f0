"""Composing a schema: groups of the primary file only, lists written plainly, sections of another verb left out."""

import pytest

from cada_trl.config import load_config
from cada_trl.config.loading import Section, as_override, compose_config, groups, leaf_paths, nearest, run_words
from cada_trl.errors import UserError


class Size(Section):
    width: int
    tags: list[str]


class Shop(Section):
    owner: str
    words: list[str]
    size: Size


FILES = {
    "shop.yaml": "defaults:\n  - size: small\n  - _self_\nowner: nobody\nwords: [x]\n",
    "size/small.yaml": "# @package _global_\nsize:\n  width: 1\n  tags: []\nother_verb:\n  lr: 1\n",
    "size/large.yaml": "width: 9\ntags: [big]\n",
    "unused/some.yaml": "key: 1\n",
}


@pytest.fixture
def conf_dir(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def shop(conf_dir, *overrides, first=()):
    return compose_config(Shop, conf_dir, "shop", overrides, first, {"other_verb"})


def test_groups_are_those_of_the_primary_file_and_leaves_those_of_the_schema(conf_dir):
    assert groups(conf_dir, "shop") == {"size": ["large", "small"]}
    assert leaf_paths(Shop) == {"owner": "owner", "words": "words", "width": "size.width", "tags": "size.tags"}


def test_a_section_of_another_verb_is_dropped_only_where_it_is_named(conf_dir):
    assert shop(conf_dir).size == Size(width=1, tags=[])
    with pytest.raises(UserError, match="unknown key 'other_verb'"):
        compose_config(Shop, conf_dir, "shop", [])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("words=a", ["a"]),
        ("words=a,b", ["a", "b"]),
        ("words=none,pap:logical appeal", ["none", "pap:logical appeal"]),
        ("words=[a,b]", ["a", "b"]),
        ("words=[]", []),
        ("words=null,1", ["null", "1"]),
    ],
)
def test_a_list_is_written_with_commas_alone_or_in_brackets(conf_dir, override, words):
    assert shop(conf_dir, override).words == words


def test_a_list_inside_a_section_is_split_too_and_text_is_not(conf_dir):
    assert shop(conf_dir, "tags=a,b").size.tags == ["a", "b"]
    assert shop(conf_dir, "size.tags=a,b").size.tags == ["a", "b"]
    with pytest.raises(UserError, match="quotes of its own"):
        shop(conf_dir, "owner=a,b")


TEXTS = [
    "a, b (c)",
    'quo"ted',
    "<|im_end|>",
    "null",
    "",
    "a\\b",
    "a\\",
    'a\\\\"',
    "tab\there",
    "two\nlines",
    "Désolé \\o/",
]


@pytest.mark.parametrize("value", [*TEXTS, 3, None, True, ["a,b", "c\\"]])
def test_any_plain_value_survives_the_way_through_hydra(conf_dir, value):
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(conf_dir), version_base="1.3"):
        assert compose("shop", overrides=[as_override("owner", value)]).owner == value


def test_first_overrides_come_before_the_users(conf_dir):
    first = ("~size", "++size.width=4", "++size.tags=[]")
    assert shop(conf_dir, first=first).size.width == 4
    assert shop(conf_dir, "width=5", first=first).size.width == 5


@pytest.mark.parametrize(
    ("name", "advice"), [("widht", "did you mean width?"), ("zzz", "valid: owner, width"), ("", "valid: owner, width")]
)
def test_the_nearest_name_is_given_or_all_of_them(name, advice):
    assert nearest(name, ["width", "owner"]) == advice


def test_several_judges_in_brackets_are_a_panel_of_them():
    judge = load_config(["judge=[phrases,classifier]", "judge_sees=completion"]).judge
    assert (judge.kind, judge.members, judge.judge_sees) == ("panel", ["phrases", "classifier"], "completion")
    assert load_config(["judge=panel", "members=phrases,classifier"]).judge.members == judge.members


@pytest.mark.parametrize("value", ["[phrases]", "null"])
def test_a_key_that_the_chosen_file_lacks_is_named_with_its_group(value):
    with pytest.raises(UserError, match="members: the chosen judge= has no such key; leave it out, or choose another"):
        load_config(["judge=rubric", f"members={value}"])


def test_a_composition_leaves_nothing_behind_for_the_next_one():
    changed = load_config(["beta_kl=0.5", "held_out_hazards=[hate]"])
    assert (changed.algo.beta_kl, changed.data.held_out_hazards) == (0.5, ["hate"])
    assert (load_config([]).algo.beta_kl, load_config([]).data.held_out_hazards) == (0.01, [])


class Export(Section):
    run: str
    to: str | None = None


def test_the_words_after_a_run_are_its_keys():
    assert run_words(["runs/a", "to=x"], Export) == Export(run="runs/a", to="x")
    assert run_words(["to=x", "runs/lr=1e-3"], Export) == Export(run="runs/lr=1e-3", to="x")


@pytest.mark.parametrize("words", ["runs/a to=x to=y", "runs/a run=runs/b", "run=runs/b", "runs/a runs/b"])
def test_a_run_or_a_key_of_it_that_is_given_twice_is_refused(words):
    with pytest.raises(UserError, match=f"got {words}; expected one run folder and "):
        run_words(words.split(), Export)
