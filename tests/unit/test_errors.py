"""What other programs' errors say becomes part of a message of ours."""

import pytest

from hvd_imgcls.errors import first_line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no such layer\nTraceback ..."), "no such layer"),
        (ValueError("\n  indented\nmore"), "indented"),
        (NotImplementedError(), "NotImplementedError"),
    ],
    ids=["two lines", "an empty line", "nothing"],
)
def test_first_line(error, expected):
    assert first_line(error) == expected
