"""`hvd-imgcls launch` in jobs of a real Slurm, whose two nodes are this machine.

The ranks are shell scripts where that is enough.
"""

from __future__ import annotations

import re
import shlex
import signal
import sys
import time

import psutil
import pytest

from tests.support.fault_injection import POLL_ALWAYS, VARIABLE
from tests.support.program import PIPELINE
from tests.support.slurm import Slurm, needs_slurm
from tests.support.survival import ENVIRONMENT, OPTIONS

pytestmark = [needs_slurm, pytest.mark.slow, pytest.mark.timeout(1800)]

LAUNCH = [sys.executable, "-m", "hvd_imgcls", "launch"]
SLEEP = "echo started; exec sleep 300"
START_SECONDS = 400
# On a busy machine; a hang would last for ever.
BOUND = 60


@pytest.fixture(scope="module")
def slurm():
    with Slurm({"n1": "127.0.0.1", "n2": "127.0.0.1"}) as slurm:
        yield slurm


def launch(slurm, cwd, *words, allocation=("--nodes=2", "--ntasks=3"), seconds=150):
    """Runs the command in an allocation, and says how it ended, and after how many seconds."""
    began = time.monotonic()
    command = ["salloc", "--quiet", *allocation, *LAUNCH, *words]
    done = slurm.run(command, cwd, seconds=seconds)
    assert not slurm.left(10), done.stderr
    return done, time.monotonic() - began


def launchers(slurm):
    return [process for process, words in slurm.commands() if words[1:4] == LAUNCH[1:]]


def shell(script):
    return ["/bin/sh", "-c", script]


def test_tasks_learn_their_places_and_unequal_nodes_are_right(slurm, tmp_path):
    names = "HOSTNAME RANK SIZE LOCAL_RANK LOCAL_SIZE CROSS_RANK CROSS_SIZE GLOO_RENDEZVOUS_ADDR"
    text = " ".join(f"$HOROVOD_{name}" for name in names.split())
    done, _ = launch(slurm, tmp_path, "--output", "out", *shell(f"echo {text}"))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "[0]<stdout>:n1 0 3 0 2 0 2 127.0.0.1",
        "[1]<stdout>:n1 1 3 1 2 0 1 127.0.0.1",
        "[2]<stdout>:n2 2 3 0 1 1 2 127.0.0.1",
    ]
    assert done.stderr == ""
    assert (tmp_path / "out" / "rank-2.txt").read_text() == "n2 2 3 0 1 1 2 127.0.0.1\n"


def test_tasks_are_placed_as_planned_whatever_the_variables_of_srun_say(slurm, tmp_path):
    words = ["env", "SLURM_DISTRIBUTION=cyclic", "SLURM_EXPORT_ENV=NONE", *LAUNCH]
    command = ["salloc", "--quiet", "--nodes=2", "--ntasks=4", *words]
    done = slurm.run([*command, *shell("echo $HOROVOD_HOSTNAME $HOROVOD_RANK")], tmp_path)
    lines = [line.partition(":")[2] for line in done.stdout.splitlines()]
    assert sorted(lines) == ["n1 0", "n1 1", "n2 2", "n2 3"], done.stderr


@pytest.mark.parametrize(
    ("allocation", "expected"),
    [
        (("--nodes=2",), ["n1 0/1", "n2 0/1"]),
        (("--nodes=2", "--ntasks-per-node=2"), ["n1 0/2", "n1 1/2", "n2 0/2", "n2 1/2"]),
        (("--ntasks=2", "--cpus-per-task=2"), ["n1 0/1", "n2 0/1"]),
    ],
)
def test_tasks_are_what_the_job_asks_for(slurm, tmp_path, allocation, expected):
    text = "$HOROVOD_HOSTNAME $HOROVOD_LOCAL_RANK/$HOROVOD_LOCAL_SIZE"
    done, _ = launch(slurm, tmp_path, *shell(f"echo {text}"), allocation=allocation)
    lines = [line.partition(":")[2] for line in done.stdout.splitlines()]
    assert sorted(lines) == expected, done.stderr


def test_the_rank_that_failed_is_named_and_the_others_end(slurm, tmp_path):
    script = f'if [ $HOROVOD_RANK = 1 ]; then echo "error: bad" >&2; exit 3; fi; {SLEEP}'
    done, seconds = launch(slurm, tmp_path, *shell(script))
    assert done.returncode == 3, done.stderr
    assert done.stderr == (
        "[1]<stderr>:error: bad\n"
        "hvd-imgcls launch: rank 1 on n1 ended first, with exit code 3; the job was stopped\n"
    )
    assert seconds < BOUND


def test_a_command_that_does_not_exist_is_said_once(slurm, tmp_path):
    done, _ = launch(slurm, tmp_path, "no-such-command")
    assert done.returncode == 126
    said = r"hvd-imgcls launch: no-such-command: No such file or directory, on n[12]\n"
    assert re.fullmatch(said, done.stderr), done.stderr


def test_a_task_that_is_killed_is_named_and_the_others_end(slurm, tmp_path):
    script = f"if [ $HOROVOD_RANK = 2 ]; then kill -KILL $PPID; fi; {SLEEP}"
    done, seconds = launch(slurm, tmp_path, *shell(script))
    assert done.returncode == 137, done.stderr
    assert "hvd-imgcls launch: rank 2 on n2 ended first, by SIGKILL" in done.stderr
    assert seconds < BOUND


def test_ranks_that_ignore_signals_are_killed(slurm, tmp_path):
    script = "if [ $HOROVOD_RANK = 0 ]; then sleep 2; exit 4; fi; trap '' TERM USR1; sleep 300"
    done, seconds = launch(slurm, tmp_path, *shell(script))
    assert done.returncode == 4, done.stderr
    assert "rank 0 on n1 ended first, with exit code 4" in done.stderr
    assert seconds < BOUND


def test_a_frozen_task_does_not_keep_the_job(slurm, tmp_path):
    script = f"if [ $HOROVOD_RANK = 0 ]; then sleep 2; exit 4; fi; kill -STOP $PPID; {SLEEP}"
    done, seconds = launch(slurm, tmp_path, *shell(script), seconds=200)
    assert done.returncode == 4, done.stderr
    assert "rank 0 on n1 ended first, with exit code 4" in done.stderr
    assert seconds < 2 * BOUND


def test_outside_of_a_job_the_error_says_what_to_do(slurm, tmp_path):
    done = slurm.run([*LAUNCH, "true"], tmp_path)
    assert done.returncode == 2
    assert "submit a script with `sbatch`" in done.stderr
    assert "Traceback" not in done.stderr


def test_within_srun_the_error_says_what_to_do(slurm, tmp_path):
    done = slurm.run(["srun", "--ntasks=1", *LAUNCH, "true"], tmp_path)
    assert "call `hvd-imgcls launch COMMAND` without srun" in done.stderr
    assert "Traceback" not in done.stderr


def test_usage_errors_are_printed_once(slurm, tmp_path):
    words = [sys.executable, "-m", "hvd_imgcls", "train", PIPELINE, "--train.num_epochs=-1"]
    done, seconds = launch(slurm, tmp_path, *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("train.num_epochs: got -1") == 1, done.stderr
    assert seconds < BOUND


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_rank_outlives_the_launcher(slurm, tmp_path, number):
    # In a shell of its own: salloc itself would end the job.
    job = slurm.submit(f"{shlex.join([*LAUNCH, *shell(SLEEP)])}; sleep 20", tmp_path, "-N2", "-n2")
    slurm.wait_for_output("started", tmp_path, START_SECONDS, count=2)
    [launcher] = launchers(slurm)
    launcher.send_signal(number)
    deadline = time.monotonic() + 30
    while any(words == ["sleep", "300"] for _, words in slurm.commands()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    slurm.command("scancel", job)
    slurm.wait_for_end(job, 120)


def test_the_secret_is_on_no_command_line_and_one_address_listens(slurm, tmp_path):
    script = "echo $HOROVOD_RENDEZVOUS_SECRET > secret-$HOROVOD_RANK; " + SLEEP
    words = shlex.join([*LAUNCH, *shell(script)])
    job = slurm.submit(f"exec {words}", tmp_path, "--nodes=2", "--ntasks=2")
    slurm.wait_for_output("started", tmp_path, START_SECONDS, count=2)
    secret = (tmp_path / "secret-0").read_text().strip()
    assert re.fullmatch("[0-9a-f]{64}", secret)
    lines = [
        " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
    ]
    assert any("task.py" in line for line in lines)
    assert not [line for line in lines if secret in line]
    [launcher] = launchers(slurm)
    listening = [c.laddr.ip for c in launcher.net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]
    slurm.command("scancel", job)
    slurm.wait_for_end(job, 120)


def training(fault="", options=OPTIONS, more=()):
    """Returns the line of a script that trains in all tasks of its job."""
    run = [sys.executable, "-m", "tests.support.fault_injection", "train", PIPELINE, *options]
    environment = {**ENVIRONMENT, POLL_ALWAYS: "1", **({VARIABLE: fault} if fault else {})}
    variables = [f"{name}={value}" for name, value in environment.items()]
    return "exec " + shlex.join(["env", *variables, *LAUNCH, *more, *run, "--run_dir=run"])


NODES = ("--nodes=2", "--ntasks=2")


@pytest.mark.ranks(2)
def test_a_cancelled_job_saves_and_the_same_script_continues(slurm, tmp_path):
    script = training("pause@before_step:rank=1:step=30", more=["--requeue"])
    job = slurm.submit(script, tmp_path, *NODES)
    slurm.wait_for_output("FAULT pause", tmp_path, START_SECONDS)
    slurm.command("scancel", job)
    assert slurm.wait_for_end(job, 120)["JobState"] == "CANCELLED"
    output = (tmp_path / "job.txt").read_text()
    assert "stopped by SIGTERM after step 30; saved in run/checkpoints/step-00000030" in output
    assert "hvd-imgcls launch: interrupted by SIGTERM; it can be continued" in output, output
    # Whoever cancels a job does not want it back.
    assert f"job {job} was cancelled and is not put back in the queue" in output, output
    assert slurm.show(job)["Restarts"] == "0"
    assert not slurm.left(10)
    job = slurm.submit(training(), tmp_path, *NODES)
    shown = slurm.wait_for_end(job, 400)
    output = (tmp_path / "job.txt").read_text()
    assert (shown["JobState"], shown["ExitCode"]) == ("COMPLETED", "0:0"), output
    assert "continuing run after step 30" in output
    assert "identical on all ranks: yes (2 x" in output, output
    assert "Traceback" not in output, output


@pytest.mark.ranks(2)
def test_the_signal_before_the_time_limit_saves_and_requeue_continues(slurm, tmp_path):
    # The first time, a tenth of a second in every step of 1,320.
    options = [*OPTIONS, "--train.num_epochs=60", "--checkpoint.every_steps=100000"]
    is_first = '[ "${SLURM_RESTART_COUNT:-0}" = 0 ]'
    slow = f"export {VARIABLE}=slow@before_step:rank=1:step=1"
    script = f"{is_first} && {slow}\n{training(options=options, more=['--requeue'])}"
    limits = ("--time=60", "--signal=B:USR1@20", "--requeue")
    job = slurm.submit(script, tmp_path, *NODES, *limits)
    slurm.wait_for_output("step 1/1320", tmp_path, START_SECONDS)
    # In one to two minutes.
    minutes = int(slurm.show(job)["RunTime"].split(":")[1]) + 2
    slurm.command("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")
    said = f"job {job} is put back in the queue (scontrol requeue {job})"
    output = slurm.wait_for_output(said, tmp_path, 300)
    assert "hvd-imgcls launch: interrupted by SIGUSR1; it can be continued" in output, output
    assert "stopped by SIGUSR1 after step" in output, output
    # Slurm waits before it starts a job again, and this one needs more time.
    deadline = time.monotonic() + 60
    while (shown := slurm.show(job))["JobState"] != "PENDING":
        assert time.monotonic() < deadline, shown
        time.sleep(0.2)
    slurm.command("scontrol", "update", f"JobId={job}", "TimeLimit=60", "StartTime=now")
    shown = slurm.wait_for_end(job, 600)
    output = (tmp_path / "job.txt").read_text()
    assert (shown["JobState"], shown["Restarts"]) == ("COMPLETED", "1"), output
    assert "continuing run after step" in output, output
    assert "identical on all ranks: yes (2 x" in output, output


@pytest.mark.ranks(2)
def test_a_signal_to_the_tasks_alone_saves(slurm, tmp_path):
    """`#SBATCH --signal=USR1@120`, without B:, is sent to the tasks and not to the script."""
    job = slurm.submit(training("pause@before_step:rank=0:step=20"), tmp_path, *NODES)
    slurm.wait_for_output("FAULT pause", tmp_path, START_SECONDS)
    slurm.command("scancel", "--signal=USR1", job)
    shown = slurm.wait_for_end(job, 120)
    output = (tmp_path / "job.txt").read_text()
    assert (shown["JobState"], shown["ExitCode"]) == ("FAILED", "75:0"), output
    assert "stopped by a signal to a rank; it can be continued" in output, output


@pytest.mark.ranks(2)
def test_a_rank_that_dies_in_training_is_named(slurm, tmp_path):
    job = slurm.submit(training("kill@before_step:rank=1:step=20"), tmp_path, *NODES)
    slurm.wait_for_output("FAULT kill", tmp_path, START_SECONDS)
    shown = slurm.wait_for_end(job, 120)
    output = (tmp_path / "job.txt").read_text()
    assert shown["ExitCode"] == "137:0", output
    assert "rank 1 on n2 ended first, by SIGKILL (exit code 137)" in output, output
    assert "Traceback" not in output, output
    assert not slurm.left(10)
