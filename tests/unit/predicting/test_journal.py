import contextlib

import pytest

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.workflows.predicting.journal import Journal

JOB = {"images": "abc", "model": "def"}


@pytest.fixture
def opened(tmp_path):
    """Opens the journal; it is closed before it is opened again, and at the end."""
    with contextlib.ExitStack() as journals:

        def open_again(job=JOB):
            journals.close()
            return journals.enter_context(contextlib.closing(Journal(tmp_path / "journal", job)))

        yield open_again


def test_what_was_kept_is_there_again_also_after_a_kill_in_the_middle_of_a_line(opened, tmp_path):
    first = opened()
    first.keep(1, 0, [[[0], [1.0]], "Input is empty."])
    first.keep(0, 2, [[[1], [0.1 + 0.2]]])
    with (tmp_path / "journal").open("ab") as file:
        file.write(b'{"piece": 2, "ra')
    again = opened()
    assert again.rows == {1: [[[0], [1.0]], "Input is empty."], 0: [[[1], [0.1 + 0.2]]]}
    assert again.ranks == {1: 0, 0: 2}
    again.keep(2, 1, [])
    last = opened()
    assert last.ranks == {1: 0, 0: 2, 2: 1}
    last.remove()
    assert list(tmp_path.iterdir()) == []


def test_of_another_job_it_is_refused_and_says_what_differs(opened):
    opened().keep(0, 0, [])
    with pytest.raises(ConfigError, match="the journal of a prediction with other model'"):
        opened({**JOB, "model": "other"})


def test_one_that_was_killed_at_its_first_line_begins_anew(opened, tmp_path):
    (tmp_path / "journal").write_bytes(b'{"images": "a')
    assert opened().rows == {}
    assert opened().rows == {}
