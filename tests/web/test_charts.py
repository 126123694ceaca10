"""The geometry of charts."""

from hypothesis import given
from hypothesis import strategies as st

from moked.web.desk.charts import HEIGHT, WIDTH, columns, heat, lines, scale


@given(st.floats(0, 1e7))
def test_a_scale_begins_at_nothing_and_reaches_the_highest(highest):
    numbers = scale(highest)
    assert numbers[0] == 0
    assert numbers[-1] >= highest
    assert 2 <= len(numbers) <= 7
    assert all(number == int(number) for number in numbers)


@given(st.lists(st.integers(0, 5000), max_size=120))
def test_bars_stay_in_the_picture_and_stand_on_the_base(values):
    chart = columns([str(number) for number in range(len(values))], values)
    assert len(chart.labels) <= 10
    for bar, value in zip(chart.bars, values, strict=True):
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert abs(bar.y + bar.height - chart.base) < 0.1
        assert (bar.height > 0.001) == (value > 0) or value / max(values) < 0.001


def test_a_line_has_gaps_where_nothing_was_measured():
    chart = lines(["1", "2", "3", "4"], [[1.0, None, 2.0, 3.0], [None] * 4])
    assert chart.lines[0].path.count("M") == 2
    assert chart.lines[0].path.count("L") == 1
    assert chart.lines[1].path == ""
    assert all(0 <= y <= HEIGHT for _, y, _, _ in chart.lines[0].points)


def test_the_busiest_square_is_the_darkest():
    cells = heat([[0, 2], [4, 1]])
    assert [cell.shade for cell in cells] == [0.0, 0.5, 1.0, 0.25]
    assert heat([[0]])[0].shade == 0.0
