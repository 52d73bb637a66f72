"""Two texts compared by lines."""

import pytest

from console.held.diffs import MAX_LINE_LENGTH, MAX_LINES, difference, equal_blocks, side_by_side


def shown(before: str, after: str) -> list[str]:
    return [f"{line.sign} {line.text}" for line in difference(before, after)]


def lines(*numbers: int) -> str:
    return "\n".join(map(str, numbers))


def test_equal_texts_have_no_difference() -> None:
    assert difference("a\nb", "a\nb") == []


def test_a_changed_line_stands_among_its_neighbours() -> None:
    before = lines(*range(20))
    assert shown(before, before.replace("\n7\n", "\nseven\n")) == [
        *("… 5 unchanged lines", "  5", "  6", "− 7", "+ seven", "  8", "  9", "… 10 unchanged lines"),
    ]


def test_a_single_line_is_not_left_out() -> None:
    assert shown("0\n1\n2\nx", "0\n1\n2\ny") == ["  0", "  1", "  2", "− x", "+ y"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a", "b"),
        ("a\nb\nc", "c"),
        ("", "a\nb"),
        ("a\na\na", "a"),
        ("x\na\nb\ny\na\nb", "a\nb\na\nb\nz"),
        ("a\nb", "a\nb\n"),
    ],
)
def test_both_texts_can_be_read_from_it(before: str, after: str) -> None:
    found = difference(before, after)
    old = [line.text for line in found if line.kind in ("", "removed")]
    new = [line.text for line in found if line.kind in ("", "added")]
    assert ("\n".join(old), "\n".join(new)) == (before, after)
    left, right = side_by_side(before, after)
    assert "\n".join(line.text for line in left) == before
    assert "\n".join(line.text for line in right) == after
    assert [line.text for line in left if not line.kind] == [line.text for line in right if not line.kind]


def test_of_a_long_line_the_part_that_differs_is_shown() -> None:
    before = f'"{"x" * 500_000}old{"y" * 500_000}"'
    removed, added = difference(before, before.replace("old", "new"))
    assert "old" in removed.text
    assert "new" in added.text
    assert max(len(removed.text), len(added.text)) <= MAX_LINE_LENGTH + 2


def test_long_texts_that_have_nothing_in_common_are_cut_and_not_compared() -> None:
    before, after = lines(*range(5_000)), lines(*range(5_000, 10_000))
    assert equal_blocks(before.split("\n"), after.split("\n")) == [(5_000, 5_000, 0)]
    found = difference(before, after)
    assert len(found) == MAX_LINES + 1
    assert found[-1].text == f"{10_000 - MAX_LINES:,} more lines"
