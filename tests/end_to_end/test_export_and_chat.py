"""A tiny training, its export and a chat with it."""

import io

import pytest

from cada_trl import chat, export, train
from cada_trl.errors import UserError
from tests.report.made_up_evaluation import refuses_most, write_evaluation

from .tiny_model import save_tiny_model, tiny_overrides


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    assert train.main([*tiny_overrides(folder, save_tiny_model(folder / "model")), "peft=lora"]) == 0
    return folder / "runs" / "tiny"


@pytest.mark.slow
def test_the_export_loads_alone_says_what_the_run_says_and_holds_no_path(run, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from cada_trl.models.load import load_policy, load_tokenizer
    from cada_trl.models.named import named_model

    target = tmp_path / "model"
    assert export.main([str(run), f"to={target}"]) == 0
    tokenizer, model = AutoTokenizer.from_pretrained(target), AutoModelForCausalLM.from_pretrained(target)
    own = named_model(str(run))
    policy = load_policy(own, load_tokenizer(own))
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert rendered == load_tokenizer(own).apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    with torch.no_grad():
        ids = torch.arange(8)[None]
        torch.testing.assert_close(model(ids).logits.float(), policy(ids).logits.float())
    texts = [path.read_text(encoding="utf-8") for path in target.iterdir() if path.suffix in {".json", ".md"}]
    assert not [text for text in texts if str(run.parent.parent) in text]
    assert not list(target.glob("*.bin"))


def test_an_evaluation_of_another_model_is_refused_and_nothing_is_written(run, tmp_path):
    other = write_evaluation(tmp_path / "after-2", refuses_most)
    with pytest.raises(UserError, match="evaluates another model"):
        export.main([str(run), f"to={tmp_path / 'model'}", f"evals={other}"])
    assert not (tmp_path / "model").exists()


def test_one_question_is_answered_the_same_twice(run, capsys):
    answers = []
    for _ in range(2):
        assert chat.main([str(run), "ask=Why is the sky blue?"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] != "\n"


def test_the_terminal_chat_forgets_on_reset_and_ends_with_ctrl_d(run, monkeypatch, capsys):
    from cada_trl.chat import Conversation

    histories = []
    ask = Conversation.ask

    def counted(self, text):
        answer = ask(self, text)
        histories.append(len(self._messages))
        return answer

    monkeypatch.setattr(Conversation, "ask", counted)
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n/reset\n\n/what\nthree\n"))
    assert chat.main([str(run), "analysis=hide"]) == 0
    assert histories == [2, 4, 2]
    assert "only /reset and Ctrl-D" in capsys.readouterr().err


def test_a_question_without_room_and_one_that_is_no_text_are_one_line(run):
    with pytest.raises(UserError, match="context_tok"):
        chat.main([str(run), "ask=" + "x" * 3000])
    with pytest.raises(UserError, match=r"ask=.*unable to parse raw data as a unicode string"):
        chat.main([str(run), "ask=caf\udce9"])


def test_the_length_of_an_answer_is_the_users(run, capsys):
    assert chat.main([str(run), "ask=Why is the sky blue?", "max_new_tok=1"]) == 0
    assert capsys.readouterr().out.endswith((" [cut off at 1 tokens; a larger max_new_tok gives room]\n", "at once]\n"))
