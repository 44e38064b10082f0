"""chat: talk to a run's trained model in the terminal, with or without its analysis.

python -m cada_trl.chat runs/smollm2-fc6d9248-s0                       (/reset forgets the conversation, Ctrl-D ends it)
python -m cada_trl.chat runs/smollm2-fc6d9248-s0 analysis=hide
python -m cada_trl.chat runs/smollm2-fc6d9248-s0 ask="How do vaccines work?" max_new_tok=800
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from cada_trl.config import ModelConfig
from cada_trl.config.loading import Section, run_words
from cada_trl.errors import UserError, run_verb
from cada_trl.prompting.reasoning import begins_analysis, split_reasoning
from cada_trl.records import Status
from cada_trl.storage.reading import check_characters
from cada_trl.visible import visible

if TYPE_CHECKING:
    from torch import Tensor


class ChatSettings(Section):
    """ask: one question, its answer, and the end. max_new_tok: None takes the run's own."""

    run: str
    analysis: Literal["show", "hide"] = "show"
    ask: str | None = None
    max_new_tok: Annotated[int, Field(ge=1, strict=False)] | None = None  # a word of the command line is a text


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError for what is no finished run and for a question that does not fit."""
    settings = run_words(argv, ChatSettings)
    from cada_trl.launching import quiet_libraries
    from cada_trl.models.named import model_identity, named_model
    from cada_trl.report.run_record import read_run

    config = read_run(Path(settings.run)).config
    model = named_model(settings.run)
    model_identity(model)
    quiet_libraries()
    rollout = config["rollout"] | ({"max_new_tok": settings.max_new_tok} if settings.max_new_tok else {})
    chat = Conversation(model, rollout, config["seed"], settings.analysis == "show")
    if settings.ask is not None:
        chat.ask(settings.ask)
        return 0
    print(f"{settings.run}, temperature {config['rollout']['temperature']}; /reset, Ctrl-D", file=sys.stderr)
    _talk(chat)
    return 0


def _talk(chat: Conversation) -> None:
    """Errors: UserError for a line that is not UTF-8: what follows it on stdin cannot be told apart."""
    if sys.stdin is None:
        raise UserError('stdin is closed; give one question as ask="..."')
    with suppress(ImportError):  # without it a terminal cuts a line at 4,095 bytes, and arrow keys are typed
        import readline  # noqa: F401
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="strict")  # under LANG=C Python lets other bytes through
    for number in count(1):
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        except UnicodeDecodeError as error:
            raise UserError(f"stdin, line {number}: not UTF-8 ({error.reason}); type or pipe UTF-8 text") from error
        if line == "/reset":
            chat.reset()
        elif line.startswith("/"):
            print("only /reset and Ctrl-D are commands", file=sys.stderr)
        elif line:
            try:
                chat.ask(line)
            except KeyboardInterrupt:  # this answer, not the conversation
                if not sys.stdin.isatty():
                    raise
                print()
            except UserError as error:
                print(visible(f"line {number}: {error}; /reset starts anew"), file=sys.stderr)


class Conversation:
    """rollout: the run's section of its config.yaml. The messages are kept whole, also where the analysis is hidden."""

    def __init__(self, model: ModelConfig, rollout: dict[str, Any], seed: int, analysis: bool) -> None:
        import torch

        from cada_trl.models.load import load_policy, load_tokenizer

        self._model, self._rollout, self._analysis = model, rollout, analysis
        self._tokenizer = load_tokenizer(model)
        self._policy = load_policy(model, self._tokenizer).eval()
        if torch.cuda.is_available():
            self._policy.to("cuda")
        torch.manual_seed(seed)
        self.reset()

    def reset(self) -> None:
        """Forget the conversation."""
        self._messages: list[dict[str, str]] = []

    def ask(self, text: str) -> str:
        """The whole answer, written to stdout as it comes.

        Errors: UserError for text that is not UTF-8, and where the context has no room for it.
        """
        from transformers import TextStreamer

        from cada_trl.models.cpu_decoding import decoding_attention
        from cada_trl.models.prompts import prompt_ids
        from cada_trl.models.sampling import continued, sampled

        if not text.strip():
            raise UserError('the question has no text; write one, as in ask="How do vaccines work?"')
        check_characters(text, "the question")
        messages = [*self._messages, {"role": "user", "content": text}]
        max_new_tok = self._rollout["max_new_tok"]
        (prompt,) = prompt_ids(self._tokenizer, [messages], self._model.context_tok, max_new_tok)
        choose = sampled(self._rollout["temperature"], self._rollout["top_p"])
        shown = Shown(_to_stdout, self._analysis)
        stream: Any = TextStreamer(self._tokenizer, skip_special_tokens=True)  # gives whole words
        stream.on_finalized_text = lambda text, stream_end=False: shown.add(text)

        def heard(logits_bv: Tensor) -> Tensor:
            token_b = choose(logits_bv)
            stream.put(token_b.cpu())
            return token_b

        declared: Any = self._policy.generation_config.eos_token_id
        ends: set[int] = set(declared)  # load_policy makes it a list
        with decoding_attention(self._policy):
            ((_, ids),) = continued(self._policy, [prompt], heard, ends, max_new_tok)
        stream.end()
        shown.end(cut_tok=None if ids[-1] in ends else len(ids))
        answer = str(self._tokenizer.decode(ids, skip_special_tokens=True))
        self._messages = [*messages, {"role": "assistant", "content": answer}]
        return answer


class Shown:
    """Takes an answer in pieces and writes what is to be seen of it: all of it, or the final response alone."""

    def __init__(self, write: Callable[[str], object], analysis: bool) -> None:
        self._write, self._analysis = write, analysis
        self._text = self._seen = ""

    def add(self, piece: str) -> None:
        """The next piece. Without the analysis nothing is seen before the header of the final response."""
        self._text += piece
        if self._analysis:
            self._write(piece)
        elif (now := split_reasoning(self._text)).status is not Status.NO_MARKER:
            self._up_to(now.final_response)

    def end(self, cut_tok: int | None) -> None:
        """The answer is over; cut_tok: at so many tokens it was cut off. Says why where no final response is seen."""
        last = split_reasoning(self._text, truncated=cut_tok is not None)
        if not self._analysis:
            is_cut = last.status is Status.TRUNCATED and begins_analysis(self._text)
            self._up_to(self._seen if is_cut else last.final_response)
        if cut_tok is not None:
            self._write(f" [cut off at {cut_tok} tokens; a larger max_new_tok gives room]\n")
        elif last.final_response:
            self._write("\n")
        else:
            only = "it wrote only an analysis" if last.analysis else "it ended at once"
            self._write(f" [no final response: {only}]\n")

    def _up_to(self, final_response: str) -> None:
        """Write what is new; another header later in the answer starts the final response again."""
        again = not final_response.startswith(self._seen)
        self._write("\n" + final_response if again else final_response[len(self._seen) :])
        self._seen = final_response


def _to_stdout(text: str) -> None:
    sys.stdout.write(visible(text))
    sys.stdout.flush()


if __name__ == "__main__":
    run_verb(main)
