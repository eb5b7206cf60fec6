import logging
from datetime import datetime
from types import SimpleNamespace

import pytest

from hvd_imgcls import logs
from hvd_imgcls.environment.topology import Topology

logger = logging.getLogger("hvd_imgcls.somewhere")


@pytest.fixture(autouse=True)
def _stop_logs():
    yield
    logs.stop()


def speak(*, with_result=False):
    logger.debug("detail")
    logger.info("news")
    if with_result:
        logger.log(logs.RESULT, "result")
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


def test_verbose_rank_says_everything_with_its_rank(capsys):
    logs.start(Topology.on_hosts(3, 8, 4), verbosity=logs.Verbosity.VERBOSE)
    speak(with_result=True)
    lines = [f"[rank 3/8] {text}" for text in ("detail", "news", "result")]
    assert capsys.readouterr() == ("\n".join(lines) + "\n", "[rank 3/8] trouble\n")


def test_quiet_root_says_its_result_and_trouble_only(capsys):
    logs.start(Topology.single(), verbosity=logs.Verbosity.QUIET)
    speak(with_result=True)
    assert capsys.readouterr() == ("result\n", "trouble\n")


def test_other_quiet_rank_says_trouble_only(capsys):
    logs.start(Topology.on_hosts(3, 8, 4), verbosity=logs.Verbosity.QUIET)
    speak(with_result=True)
    assert capsys.readouterr() == ("", "[rank 3/8] trouble\n")


def test_start_twice_says_everything_once(capsys):
    logs.start(Topology.single())
    logs.start(Topology.single())
    speak()
    assert capsys.readouterr().out == "news\n"


def test_file_holds_time_and_level(tmp_path):
    logs.start(Topology.single())
    logs.add_file(tmp_path / "log.txt", Topology.single())
    speak()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["INFO news", "WARNING trouble"]
    assert all(datetime.fromisoformat(line[:19]) for line in lines)


@pytest.mark.parametrize(
    ("verbosity", "levels"),
    [
        (logs.Verbosity.QUIET, ["INFO", "RESULT", "WARNING"]),
        (logs.Verbosity.VERBOSE, ["DEBUG", "INFO", "RESULT", "WARNING"]),
    ],
)
def test_file_of_a_quiet_rank_is_whole_and_has_the_rank(tmp_path, verbosity, levels):
    topology = Topology.on_hosts(0, 8, 4)
    logs.start(topology, verbosity=verbosity)
    logs.add_file(tmp_path / "log.txt", topology, verbosity=verbosity)
    speak(with_result=True)
    words = [line.split(" ") for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert [line[2] for line in words] == levels
    assert {" ".join(line[3:5]) for line in words} == {"[rank 0/8]"}


def test_start_and_stop_leave_the_root_logger_alone():
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    logs.start(Topology.single())
    assert (root.level, list(root.handlers)) == before
    logs.stop()
    ours = logging.getLogger("hvd_imgcls")
    assert (ours.handlers, ours.propagate, ours.level) == ([], True, logging.NOTSET)


def test_a_log_file_on_a_full_disk_says_so_once(tmp_path, capsys, monkeypatch):
    def fail(text):
        raise OSError(28, "No space left on device")

    logs.start(Topology.single())
    logs.add_file(tmp_path / "log.txt", Topology.single())
    handlers = logging.getLogger("hvd_imgcls").handlers
    (file,) = [one for one in handlers if isinstance(one, logging.FileHandler)]
    monkeypatch.setattr(file, "stream", SimpleNamespace(write=fail, flush=bool, close=bool))
    for number in range(3):
        logger.info("line %d", number)
    said = f"{tmp_path}/log.txt: No space left on device; the log is incomplete\n"
    assert capsys.readouterr() == ("line 0\nline 1\nline 2\n", said)
