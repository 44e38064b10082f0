from itertools import combinations

import pytest
from matplotlib.figure import Figure

from cada_trl.report.drawing import key, legend_below, picture, place_labels


@pytest.fixture
def axes():
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    figure.draw_without_rendering()
    return axes


def boxes(axes):
    axes.figure.draw_without_rendering()
    notes = axes.texts
    return [note.get_window_extent() for note in notes]


def test_labels_of_points_on_one_place_do_not_cover_each_other(axes):
    place_labels(axes, [(f"configuration {i}", (0.5, 0.5)) for i in range(6)], [(0.5, 0.5)])
    assert not any(one.overlaps(other) for one, other in combinations(boxes(axes), 2))


@pytest.mark.parametrize("corner", [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)])
def test_a_label_at_the_edge_stays_inside(axes, corner):
    place_labels(axes, [("a long label of a point", corner)], [corner])
    (box,) = boxes(axes)
    assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1


def test_a_label_steps_off_a_line(axes):
    place_labels(axes, [("label", (0.5, 0.5))], [], [((0.0, 0.5), (1.0, 0.5))])
    (box,) = boxes(axes)
    middle = axes.transData.transform((0.5, 0.5))[1]
    assert box.y0 > middle or box.y1 < middle


def test_a_name_with_two_dollar_signs_is_written_as_it_is():
    def draw(axes):
        axes.set_title("a$b_$c")
        legend_below(axes, [key("a$b_$c")])
        return lambda: place_labels(axes, [("a$b_$c", (0.5, 0.5))], [])

    assert picture([draw]).count(b"<!-- a$b_$c -->") == 3
