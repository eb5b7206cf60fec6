"""The example job scripts: syntax, and commands and options that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hvd_imgcls.commands.command_list import COMMANDS
from tests.support.launch import ROOT

JOBS = ROOT / "jobs"
SCRIPTS = [JOBS / "slurm.sbatch", JOBS / "mpi.sh"]
MANIFESTS = [JOBS / "kubernetes-mpijob.yaml", JOBS / "kubernetes-indexed-job.yaml"]
DOCKERFILES = [JOBS / "Dockerfile.cpu", JOBS / "Dockerfile.nccl"]


def test_every_file_is_checked_here_and_named_in_the_documentation():
    assert set(JOBS.iterdir()) == {*SCRIPTS, *MANIFESTS, *DOCKERFILES}
    text = (ROOT / "docs" / "clusters.md").read_text()
    assert all(f"jobs/{path.name}" in text for path in JOBS.iterdir())


@pytest.mark.parametrize("path", [*SCRIPTS, *MANIFESTS, *DOCKERFILES], ids=lambda path: path.name)
def test_each_file_says_what_was_not_run(path):
    text = path.read_text()
    assert re.search(r"never (run )?on|never run|[Nn]ot built", text), path


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_valid(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def documents_of(path):
    return list(yaml.safe_load_all(path.read_text()))


def containers_of(value):
    """All containers, at any depth."""
    if isinstance(value, list):
        return [found for entry in value for found in containers_of(entry)]
    if not isinstance(value, dict):
        return []
    return [*value.get("containers", []), *containers_of(list(value.values()))]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_have_what_kubernetes_requires(path):
    documents = documents_of(path)
    containers = containers_of(documents)
    assert containers
    for document in documents:
        assert {"apiVersion", "kind", "metadata", "spec"} == set(document)
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", document["metadata"]["name"])
    for container in containers:
        assert {"name", "image", "command", "resources"} <= set(container)
        assert all(isinstance(word, str) for word in container["command"])


def test_the_service_of_the_indexed_job_finds_its_pods():
    service, job = documents_of(MANIFESTS[1])
    pods = job["spec"]["template"]["spec"]
    name = job["metadata"]["name"]
    assert service["metadata"]["name"] == pods["subdomain"]
    assert service["spec"]["selector"] == {"job-name": name}
    [container] = pods["containers"]
    script = container["args"][0]
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert f"{name}-1.{pods['subdomain']}:2" in script
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pods["volumes"]}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_instructions_of_dockerfiles_exist_and_files_do_too(path):
    text = re.sub(r"\\\n", " ", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "FROM debian:12-slim"
    known = {"FROM", "RUN", "COPY", "USER", "WORKDIR", "ENV", "CMD"}
    assert {line.split()[0] for line in lines} <= known
    for line in lines:
        if line.startswith("RUN "):
            subprocess.run(["sh", "-n"], input=line[4:], text=True, check=True)


@pytest.mark.parametrize(
    "path", [*SCRIPTS, *MANIFESTS, *DOCKERFILES, Path("docs/clusters.md")], ids=lambda p: p.name
)
def test_our_commands_exist(path):
    text = (ROOT / path).read_text()
    words = set(re.findall(r"hvd-imgcls\"?[,\s]+-?\s*\"?([a-z]+(?:-[a-z]+)*)", text))
    named = {word for word in words if word not in ("image", "of", "in")}
    assert named <= set(COMMANDS), named - set(COMMANDS)
    assert named & {"train", "doctor", "launch"}
