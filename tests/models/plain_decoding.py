"""What a plain loop without cache, padding or batch says to a few prompts on the tiny random model."""

import torch
from end_to_end.tiny_model import tiny_model, tiny_tokenizer

MODEL = tiny_model().eval()
TEXTS = ["Why?", "How old is the Sun?", "Is it far to the Moon from here, would you say?", "And?", "Who wrote this?"]
PROMPTS = [tiny_tokenizer()(text)["input_ids"] for text in TEXTS]
MAX_NEW_TOK = 12


def one_by_one(ends=frozenset()):
    """The greedy continuation of each prompt, up to and with its first end."""
    answers = []
    for prompt in PROMPTS:
        ids = []
        while len(ids) < MAX_NEW_TOK and not ends & set(ids):
            with torch.no_grad():
                ids.append(int(MODEL(torch.tensor([prompt + ids])).logits[0, -1].argmax()))
        answers.append(ids)
    return answers


WHOLE = one_by_one()
