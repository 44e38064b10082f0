"""A folder loads as the config says; each mistake is one line that says what to do. The hub here is a local server."""

import pytest
from end_to_end.tiny_model import tiny_model
from hub_stand_in import running

from cada_trl.errors import UserError
from cada_trl.models.checks import check_tokenizer
from cada_trl.models.load import compute_rotary_tables, load_policy, load_tokenizer, resolve_model, without_prefill

from .conftest import model_config


def hub_at(monkeypatch, tmp_path, url, offline=False):
    """Asks for what is on the hub there; nothing is in the cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running() as hub:
        hub_at(monkeypatch, tmp_path, hub.address)
        yield


def test_a_folder_loads_with_the_config_s_tokens_and_dtype(model_folder):
    import torch

    config = model_config(path=str(model_folder), dtype="bfloat16", pad="<eot>")
    tokenizer = load_tokenizer(config)
    policy = load_policy(config, tokenizer)
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.padding_side) == ("<eot>", "<eot>", "left")
    assert policy.dtype is torch.bfloat16
    assert policy.config.pad_token_id == tokenizer.eos_token_id == 2
    assert policy.config._name_or_path == str(model_folder)


@pytest.mark.parametrize("rope", [{}, {"rope_type": "linear", "factor": 4.0}])
def test_rotary_tables_that_were_rounded_are_those_of_a_plain_load_again(rope):
    import torch

    model = tiny_model(rope_parameters={"rope_theta": 5e5, **rope})
    exact = {name: table.clone() for name, table in model.named_buffers()}
    model.bfloat16()
    compute_rotary_tables(model)
    tables = dict(model.named_buffers())
    assert tables.keys() == exact.keys() and all(torch.equal(tables[name], exact[name]) for name in exact)
    assert model.dtype is torch.bfloat16 and len(exact) == 2


def test_the_model_s_own_sampling_values_are_dropped_and_its_ends_kept(model_folder):
    config = model_config(path=str(model_folder))
    generation = load_policy(config, load_tokenizer(config)).generation_config
    assert (generation.do_sample, generation.temperature, generation.top_p) == (None, None, None)
    assert generation.eos_token_id == [2, 5]
    assert generation.pad_token_id == 3


@pytest.mark.parametrize("role", ["eos", "pad"])
def test_a_token_outside_the_vocabulary_is_refused(model_folder, role):
    with pytest.raises(UserError, match=rf"model.{role}=<\|no\|> is not in the vocabulary"):
        load_tokenizer(model_config(path=str(model_folder), **{role: "<|no|>"}))


def with_token(folder, token, special):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([token], special_tokens=special)
    tokenizer.save_pretrained(folder)
    return model_config(path=str(folder))


def test_a_token_without_a_row_of_the_embeddings_is_refused_before_the_weights_are_read(model_folder):
    (model_folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"gives '<acme>' the id (\d+), and config\.json has vocab_size=\1; call"):
        load_tokenizer(with_token(model_folder, "<acme>", special=False))


def test_a_control_token_without_a_row_is_refused_only_where_the_template_writes_it(model_folder):
    config = with_token(model_folder, "<image>", special=True)
    load_tokenizer(config)
    template = model_folder / "chat_template.jinja"
    template.write_text("<image>" + template.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(UserError, match="gives '<image>' the id"):
        load_tokenizer(config)


def test_a_model_with_an_adapter_beside_it_is_refused(model_folder):
    (model_folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"holds a model and an adapter .*; merge them"):
        resolve_model(model_config(path=str(model_folder)))


def test_a_context_beyond_the_model_s_positions_is_refused(model_folder):
    config = model_config(path=str(model_folder), context_tok=65)
    with pytest.raises(UserError, match="context_tok=65 exceeds the 64 positions"):
        load_policy(config, load_tokenizer(config))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        resolve_model(model_config(path=str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("offline", "message"),
    [
        (True, r"HF_HUB_OFFLINE is set; unset it, .* model=smollm2"),
        (False, "the hub cannot be reached; set HF_ENDPOINT to a mirror, use a local copy"),
    ],
)
def test_without_a_network_the_hub_is_asked_once_and_the_line_says_what_to_do(
    monkeypatch, tmp_path, caplog, offline, message
):
    hub_at(monkeypatch, tmp_path, "http://127.0.0.1:9", offline)
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits to ask again"))
    with pytest.raises(UserError, match=message):
        resolve_model(model_config(source="hub", path="org/model", revision="main"))
    assert caplog.records == []


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("name", "revision", "expected"),
    [
        ("gated", "main", r"accept its licence at https://huggingface.co/org/gated, then run `hf auth login`"),
        ("absent", "main", r"no model 'org/absent' on the hub"),
        ("gated", "lost", r"has no revision 'lost'; set revision to a commit or main"),
        ("no-config", "main", r"has no config\.json"),
    ],
)
def test_each_refusal_of_the_hub_is_explained(name, revision, expected):
    with pytest.raises(UserError, match=expected):
        resolve_model(model_config(source="hub", path=f"org/{name}", revision=revision))


def test_an_impossible_hub_id_is_one_line():
    with pytest.raises(UserError, match="cannot read a/b/c from the hub") as error:
        resolve_model(model_config(source="hub", path="a/b/c"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("template", "without"),
    [
        ("{{'<A><think>\\n'}}{% endif %}", "{{'<A>'}}{% endif %}"),  # DeepSeek-R1's, with the newline escaped
        ("{{- '<A>\n<think>\n' }}", "{{- '<A>\n' }}"),
        ('{{ "<A><think>" -}}', '{{ "<A>" -}}'),
        ("{{ '<A>' }}{{ '<think>\n\n</think>\n\n' }}", None),  # closed at once: it is no beginning
        ("{% if '<think>' in content %}{{ '<A>' }}", None),
    ],
)
def test_a_think_tag_that_a_template_leaves_open_is_taken_out(template, without):
    assert without_prefill(template) == (template if without is None else without)


def test_a_loaded_tokenizer_leaves_the_thinking_to_the_model_in_each_of_its_templates(model_folder):
    file = model_folder / "chat_template.jinja"
    text = file.read_text(encoding="utf-8")
    thinking = text.replace("'assistant: '", "'assistant: <think>\\n'")
    file.write_text(thinking, encoding="utf-8")
    tokenizer = load_tokenizer(model_config(path=str(model_folder)))
    assert "the generation prompt is 'assistant: '" in check_tokenizer(tokenizer, model_config())
    (model_folder / "additional_chat_templates").mkdir()
    (model_folder / "additional_chat_templates" / "tool_use.jinja").write_text(thinking, encoding="utf-8")
    assert set(load_tokenizer(model_config(path=str(model_folder))).chat_template.values()) == {text}
