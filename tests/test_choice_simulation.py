"""Tasks with two right answers in LIBERO's own simulation. Skipped where LIBERO is not installed."""

import numpy as np
import pytest

from rtc.worlds.libero import choice, setup_check
from rtc.worlds.libero.choice_expert import ChoiceExpert
from rtc.worlds.modes import ANSWER, FIRST, NONE, SWITCHES

MISSING = setup_check.missing_parts(images=False)
pytestmark = pytest.mark.skipif(bool(MISSING), reason="LIBERO is not installed: docs/libero.md says how")


@pytest.fixture(scope="module", params=[0, 1])
def environment(request):
    opened = choice.opened(request.param)
    yield opened
    opened.close()


def test_either_answer_counts(environment):
    expert, taken = ChoiceExpert(0), []
    for episode in range(2):
        expert.reset()
        environment.begin_episode(episode)
        environment.reset(100 + episode)
        assert environment.simulation.reached() == NONE
        while not (step := environment.step(expert.act(environment.scene()))).terminated:
            assert not step.truncated
        found = environment.notes[episode]
        assert (found[ANSWER], found[FIRST], found[SWITCHES]) == (expert.answer, expert.answer, 0)
        taken.append(expert.answer)
    assert sorted(taken) == [0, 1]


def test_a_seed_draws_the_places_and_answers_are_left_and_right(environment):
    first = environment.reset(5)
    other = environment.reset(6)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(environment.reset(5), first)
    left, right = environment.scene().answers
    answers = (left.bowl, right.bowl) if environment.task == 0 else (left.plate, right.plate)
    assert answers[0][1] > answers[1][1] + 0.2
    shared = (left.plate, right.plate) if environment.task == 0 else (left.bowl, right.bowl)
    np.testing.assert_array_equal(*shared)
