"""chat: talk to a run's trained model in the terminal, with or without its analysis.

python -m cada_trl.chat runs/smollm2-fc6d9248-s0                       (/reset forgets the conversation, Ctrl-D ends)
python -m cada_trl.chat runs/smollm2-fc6d9248-s0 analysis=hide
python -m cada_trl.chat runs/smollm2-fc6d9248-s0 ask="How do vaccines work?"
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cada_trl.config.loading import Section
from cada_trl.errors import UserError, run_verb
from cada_trl.exporting.run_words import run_words

if TYPE_CHECKING:
    from cada_trl.chatting.conversation import Conversation


class ChatSettings(Section):
    """ask: one question, its answer, and the end."""

    run: str
    analysis: Literal["show", "hide"] = "show"
    ask: str | None = None


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError for what is no finished run and for a question that does not fit."""
    settings = run_words(argv, ChatSettings)
    from cada_trl.chatting.conversation import Conversation
    from cada_trl.launching import quiet_libraries
    from cada_trl.models.named import named_model
    from cada_trl.reporting.run.run_record import read_run

    config = read_run(Path(settings.run)).config
    model = named_model(settings.run)
    quiet_libraries()
    chat = Conversation(model, config["rollout"], config["seed"], settings.analysis == "show")
    if settings.ask is not None:
        chat.ask(settings.ask)
        return 0
    print(f"{settings.run}, temperature {config['rollout']['temperature']}; /reset, Ctrl-D", file=sys.stderr)
    _talk(chat)
    return 0


def _talk(chat: Conversation) -> None:
    while True:
        try:
            said = input("> ").strip()
        except EOFError:
            print()
            return
        if said == "/reset":
            chat.reset()
        elif said.startswith("/"):
            print("only /reset and Ctrl-D are commands", file=sys.stderr)
        elif said:
            try:
                chat.ask(said)
            except UserError as error:
                print(f"{error}; /reset starts anew", file=sys.stderr)


if __name__ == "__main__":
    run_verb(main)
