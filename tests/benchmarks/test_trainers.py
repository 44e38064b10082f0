"""benchmarks.trainers: the clock that every table of seconds rests on."""

from types import SimpleNamespace

from benchmarks.trainers import StepClock


class Sampler:
    def _generate_single_turn(self, prompt_ids):
        return [[1, 2]] * len(prompt_ids), None


def test_the_first_step_is_not_timed_and_what_is_no_sampling_is_the_update():
    times_s = iter([0.0, 1.0, 2.0, 5.0, 10.0, 11.0, 13.0, 19.0, 20.0, 22.0, 25.0, 31.0])
    clock = StepClock(times_s.__next__)
    steps = clock.callback()
    trainer = type("Timed", (clock.around_sampling(), Sampler), {})()
    for step in range(3):
        steps.on_step_begin(None, SimpleNamespace(global_step=step), None)
        trainer._generate_single_turn([[0], [0, 0]])
        steps.on_step_end(None, SimpleNamespace(global_step=step + 1), None)
    assert (clock.step_s, clock.rollout_s, clock.update_s) == ([9.0, 11.0], [2.0, 3.0], [7.0, 8.0])
    assert (clock.prompt_tok, clock.completion_tok) == (3, 4)
