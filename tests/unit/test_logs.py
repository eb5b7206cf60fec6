import logging

import pytest

from hvd_imgcls import logs
from hvd_imgcls.topology import Topology

logger = logging.getLogger("hvd_imgcls.somewhere")


@pytest.fixture(autouse=True)
def _stop_logs():
    yield
    logs.stop()


def speak():
    logger.debug("detail")
    logger.info("news")
    logger.warning("trouble")


def test_root_of_one_rank_says_news_without_a_prefix(capsys):
    logs.start(Topology.single())
    speak()
    assert capsys.readouterr() == ("news\n", "trouble\n")


def test_root_of_several_ranks_says_its_rank(capsys):
    logs.start(Topology.on_hosts(0, 8, 4))
    speak()
    assert capsys.readouterr() == ("[rank 0/8] news\n", "[rank 0/8] trouble\n")


def test_other_rank_says_trouble_only(capsys):
    logs.start(Topology.on_hosts(3, 8, 4))
    speak()
    assert capsys.readouterr() == ("", "[rank 3/8] trouble\n")


def test_verbose_rank_says_everything(capsys):
    logs.start(Topology.on_hosts(3, 8, 4), verbose=True)
    speak()
    assert "detail" in capsys.readouterr().out


def test_start_twice_says_everything_once(capsys):
    logs.start(Topology.single())
    logs.start(Topology.single())
    speak()
    assert capsys.readouterr().out == "news\n"


def test_file_holds_time_and_level(tmp_path):
    logs.start(Topology.single())
    logs.add_file(tmp_path / "log.txt")
    speak()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO news", "WARNING trouble"]


def test_start_and_stop_leave_the_root_logger_alone():
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    logs.start(Topology.single())
    assert (root.level, list(root.handlers)) == before
    logs.stop()
    ours = logging.getLogger("hvd_imgcls")
    assert (ours.handlers, ours.propagate, ours.level) == ([], True, logging.NOTSET)
