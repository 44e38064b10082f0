"""What a step's rollouts cost: as many tokens of each, or the two backends did different work."""

from types import SimpleNamespace

from benchmarks import rollouts


def test_the_decoding_loop_knows_no_end_while_it_is_measured(monkeypatch):
    ends = []

    def sample(rows, seed):
        ends.append(trainer.eos_token_ids)
        return [[7] * 5 for _ in rows]

    trainer = SimpleNamespace(train_dataset=range(99), use_vllm=False, eos_token_ids=[2], sample=sample)
    monkeypatch.setattr(rollouts, "_trainer", lambda *_: trainer)
    assert rollouts.measure([])["n_tok"] == 5 * rollouts.N_ROWS
    assert ends == [[]] * rollouts.N_TIMES
