"""Which variables leave the launcher's host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvd_imgcls.errors import ConfigError
from hvd_imgcls.launcher.environment import PASSED, for_other_hosts

NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,12}", fullmatch=True)
SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN",
    "HOROVOD_RENDEZVOUS_SECRET",
    "HVD_IMGCLS_API_KEY",
    "TF_PASSWORD",
    "KERAS_CREDENTIALS",
    "NCCL_PRIVATE",
    "WANDB_API_KEY",
)


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_stay_unless_they_are_named(name):
    assert for_other_hosts({name: "x"}) == {}
    assert for_other_hosts({name: "x"}, [name]) == {name: "x"}


@given(st.dictionaries(NAMES, st.text(max_size=3), max_size=8))
def test_nothing_else_than_the_list_leaves(environment):
    for name, value in for_other_hosts(environment).items():
        assert environment[name] == value
        assert any(name == known or name.startswith(known) for known in PASSED)


def test_what_ranks_need_arrives():
    needed = {
        "PYTHONPATH": "/code",
        "PATH": "/bin",
        "LD_LIBRARY_PATH": "/lib",
        "HOROVOD_FUSION_THRESHOLD": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }
    assert for_other_hosts({**needed, "HOME": "/root", "EDITOR": "vi"}) == needed


def test_the_place_of_an_outer_job_stays():
    outer = {"HOROVOD_RANK": "1", "HOROVOD_LOCAL_SIZE": "2", "CUDA_VISIBLE_DEVICES": "0"}
    assert for_other_hosts(outer) == {}


@pytest.mark.parametrize("name", ["MISSING", "A B", "A=1", ""])
def test_a_name_that_is_not_set_is_refused(name):
    with pytest.raises(ConfigError, match="--pass-env"):
        for_other_hosts({"OTHER": "1"}, [name])
