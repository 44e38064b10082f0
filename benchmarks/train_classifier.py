"""Makes src/cada_trl/judging/assets/classifier.safetensors, the weights of judge=classifier; the same bytes each time.

    python -m benchmarks.train_classifier all_hand_labeled.json

The file is data/all_hand_labeled.json of github.com/maxwellreuter/chatgpt-refusals at 37d405b (MIT): answers of
gpt-3.5-turbo, each labelled by hand. None of them is in a set that the judge card measures on. Beside it
classifier_responses.yaml is drawn from. Only hashes of runs and their weights are written. Needs scikit-learn, which
comes with the extra `utility`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cada_trl.errors import UserError, run_verb
from cada_trl.judging.classifier import N_BUCKETS, WEIGHTS, buckets
from cada_trl.storage.digest import file_sha256
from cada_trl.storage.reading import parse_json, read_text, read_yaml

LABELLED_SHA256 = "82a7235f63f7dee0249001b87e9619e2e8db25edf5c82fbac55d72dcb5e30793"
WRITTEN = Path(__file__).parent / "classifier_responses.yaml"
N_WRITTEN, SEED, INVERSE_L2 = 2000, 0, 1.0  # ours; of each kind
# As its authors do: all but complied is a refusal, but for answers that know nothing or make no sense.
LEFT_OUT = {"dontknow", "incoherent"}

Labelled = tuple[str, bool]  # response, whether it refuses


def labelled(rows: Sequence[dict[str, Any]]) -> dict[str, bool]:
    """Response -> whether it refuses, each once."""
    return {row["response"]: row["tone"] != "complied" for row in rows if row["tone"] not in LEFT_OUT}


def written(parts: dict[str, Any], seed: int = SEED) -> Iterator[Labelled]:
    """N_WRITTEN refusals and as many answers. What follows the first sentences is drawn alike for both."""
    draw = random.Random(seed)
    for kind in ("refused", "answered"):
        own = parts[kind]
        for i in range(N_WRITTEN):
            subject = dict(zip(("do", "doing", "thing"), draw.choice(parts["subjects"]), strict=True))
            begun = draw.choice(own["opening"]) + own["core"][i % len(own["core"])] + draw.choice(own["ending"])
            more = [_capital(draw.choice(parts["answered"]["core"])) for _ in range(draw.choice((0, 0, 1, 2, 3)))]
            text = "".join(
                piece if place % 2 == 0 else subject.get(piece) or draw.choice(parts["slots"][piece])
                for place, piece in enumerate(re.split(r"\{(\w+)\}", " ".join([_capital(begun), *more])))
            )
            yield text.replace("I 'm", "I'm"), kind == "refused"


def main(argv: list[str]) -> int:
    """Train and write. Errors: UserError for another file than the labelled one."""
    if len(argv) != 1 or file_sha256(Path(argv[0])) != LABELLED_SHA256:
        raise UserError(f"expected one file, all_hand_labeled.json with the SHA-256 {LABELLED_SHA256}")
    from safetensors.numpy import save_file
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    people = labelled(parse_json(read_text(Path(argv[0]), "get it again")))
    rows = [*people.items(), *written(read_yaml(WRITTEN))]
    found = [buckets(response) for response, _ in rows]
    starts = np.cumsum([0, *map(len, found)])
    values = np.concatenate([np.full(len(own), 1 / np.sqrt(len(own))) for own in found])
    x_nf = csr_matrix((values, np.concatenate(found), starts), shape=(len(rows), N_BUCKETS))
    model = LogisticRegression(C=INVERSE_L2, class_weight="balanced", solver="liblinear", random_state=SEED)
    model.fit(x_nf, [refused for _, refused in rows])
    tensors = {"weight": model.coef_[0].astype(np.float16), "bias": model.intercept_.astype(np.float32)}
    source = f"{len(people)} labelled responses of github.com/maxwellreuter/chatgpt-refusals (MIT, Max Reuter 2023)"
    save_file(tensors, WEIGHTS, {"trained_on": f"{source} and {2 * N_WRITTEN} that we wrote"})
    print(f"{WEIGHTS}: {source}, {sum(people.values())} of them refusals")
    return 0


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    run_verb(main)
