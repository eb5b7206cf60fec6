"""The doctor started by a launcher: it starts ranks of its own, and reports once per host."""

from __future__ import annotations

import pytest

from tests.support.program import hvd_imgcls, running


@pytest.mark.slow
@pytest.mark.ranks(2)
@pytest.mark.timeout(900)
def test_the_doctor_under_a_launcher_checks_each_host_once(tmp_path):
    words = hvd_imgcls("doctor", "--self-test-timeout", "700")
    with running(words, size=2, cwd=tmp_path) as program:
        exit_code = program.wait(800)
    assert exit_code == 0, program.output
    assert program.output.count("allreduce over gloo") == 1, program.output
    assert "[0]<stdout>:ready, " in program.output, program.output
    assert "[1]<" not in program.output, program.output
