"""The files that start a run on a cluster, as far as one machine can tell: their form, and their commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from ast_cli.cli.app import app
from tests.cli.runner import ROOT
from tests.extras import Extra

yaml = Extra("yaml")

CLUSTER = ROOT / "examples" / "cluster"
README = (CLUSTER / "README.md").read_text(encoding="utf-8")
DOCKERFILE = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
JOB = CLUSTER / "job.sh"
RAYJOB = yaml.safe_load((CLUSTER / "rayjob.yaml").read_text(encoding="utf-8"))
CLUSTER_SPEC = RAYJOB["spec"]["rayClusterSpec"]
HEAD, [WORKERS] = CLUSTER_SPEC["headGroupSpec"], CLUSTER_SPEC["workerGroupSpecs"]
GPU = "nvidia.com/gpu"

# The fields of ray.io/v1 that may be there, of KubeRay 1.2's Go types, and those that must.
FIELDS = {
    "RayJob": ({"apiVersion", "kind", "metadata", "spec"}, set()),
    "RayJobSpec": (
        {"entrypoint", "rayClusterSpec"},
        {
            *("activeDeadlineSeconds", "backoffLimit", "clusterSelector", "entrypointNumCpus"),
            *("entrypointNumGpus", "entrypointResources", "jobId", "metadata", "runtimeEnvYAML"),
            *("shutdownAfterJobFinishes", "submissionMode", "submitterConfig", "submitterPodTemplate"),
            *("suspend", "ttlSecondsAfterFinished"),
        },
    ),
    "RayClusterSpec": (
        {"headGroupSpec"},
        {"rayVersion", "workerGroupSpecs", "enableInTreeAutoscaling", "autoscalerOptions", "suspend"},
    ),
    "HeadGroupSpec": ({"rayStartParams", "template"}, {"serviceType", "headService", "enableIngress"}),
    "WorkerGroupSpec": (
        {"groupName", "maxReplicas", "minReplicas", "rayStartParams", "template"},
        {"replicas", "numOfHosts", "scaleStrategy"},
    ),
    "PodSpec": ({"containers"}, {"serviceAccountName", "tolerations", "nodeSelector", "volumes"}),
    "Container": ({"name", "image"}, {"env", "envFrom", "ports", "resources", "volumeMounts"}),
}


def pods() -> list[dict[str, Any]]:
    return [group["template"]["spec"] for group in (HEAD, WORKERS)]


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in pod["containers"]]


def tag_command() -> Any:
    """The command that runs when none is named."""
    group: Any = typer.main.get_command(app)
    return group.commands["tag"]


def parsed(line: str) -> dict[str, Any]:
    """What ast-tag makes of a command line; it is not run."""
    name, *arguments = shlex.split(line)
    assert name == "ast-tag"
    with tag_command().make_context("tag", arguments) as context:
        return dict(context.params)


def handed_to_ray(tmp_path: Path, *arguments: str) -> list[str]:
    """What job.sh would have Ray do: instead of Ray, there is a program that prints it."""
    stand_in = tmp_path / "ray"
    stand_in.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n", encoding="utf-8")
    stand_in.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", JOB, *arguments],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.splitlines()


def test_the_command_is_one_that_the_tool_takes() -> None:
    line = RAYJOB["spec"]["entrypoint"]
    has_ray = any("--ray" in option.opts for option in tag_command().params)
    options = parsed(line if has_ray else line.replace(" --ray auto", ""))
    assert options["paths"] == ["s3://bucket/prefix/"]
    assert options["out"] == "s3://bucket/results/"
    assert options["resume"] is True
    if has_ray:
        assert options["ray"] == "auto"


def test_both_ways_run_the_same_command(tmp_path: Path) -> None:
    line = RAYJOB["spec"]["entrypoint"]
    assert line in README
    buckets = ["s3://bucket/prefix/", "s3://bucket/results/"]
    submit = ["job", "submit", "--"]
    assert handed_to_ray(tmp_path, *buckets) == [*submit, *shlex.split(line)]
    more = ["--format", "jsonl", "--include", "Dome stic"]
    assert handed_to_ray(tmp_path, *buckets, *more) == [*submit, *shlex.split(line), *more]


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("RayJob", [RAYJOB]),
        ("RayJobSpec", [RAYJOB["spec"]]),
        ("RayClusterSpec", [CLUSTER_SPEC]),
        ("HeadGroupSpec", [HEAD]),
        ("WorkerGroupSpec", [WORKERS]),
        ("PodSpec", pods()),
        ("Container", containers()),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_every_part_has_the_fields_of_its_kind(kind: str, found: list[dict[str, Any]]) -> None:
    required, optional = FIELDS[kind]
    for one in found:
        assert required <= one.keys() <= required | optional


def test_the_rayjob_is_one() -> None:
    assert RAYJOB["apiVersion"] == "ray.io/v1"
    assert RAYJOB["kind"] == "RayJob"
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,45}[a-z0-9])?", RAYJOB["metadata"]["name"])
    assert RAYJOB["spec"]["shutdownAfterJobFinishes"] is True


def test_what_ray_is_started_with_are_strings() -> None:
    """Kubernetes refuses numbers there."""
    for group in (HEAD, WORKERS):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for container in containers():
        assert all(isinstance(one["value"], str) for one in container["env"])
        for amounts in container["resources"].values():
            assert all(isinstance(amount, str) for amount in amounts.values())


def test_workers_have_gpus_and_the_head_has_none() -> None:
    assert HEAD["rayStartParams"]["num-cpus"] == HEAD["rayStartParams"]["num-gpus"] == "0"
    [head], [worker] = (pod["containers"] for pod in pods())
    assert GPU not in head["resources"]["limits"]
    assert worker["resources"]["limits"][GPU] == worker["resources"]["requests"][GPU] == "1"
    assert WORKERS["minReplicas"] <= WORKERS["replicas"] <= WORKERS["maxReplicas"]


def test_all_nodes_share_environment_credentials_and_image() -> None:
    head, worker = containers()
    for field in ("env", "envFrom", "image"):
        assert head[field] == worker[field]
    assert head["envFrom"][0]["secretRef"]["name"] == "ast-tag-s3"
    assert {pod["serviceAccountName"] for pod in pods()} == {"ast-tag"}
    for name in ("secret generic ast-tag-s3", "serviceaccount ast-tag"):
        assert f"kubectl create {name}" in README


def test_keys_stand_in_no_file() -> None:
    for path in (*CLUSTER.iterdir(), *(ROOT / "tools" / "cluster").iterdir()):
        if path.is_file() and path.suffix in {".yaml", ".sh", ".md", ""}:
            text = path.read_text(encoding="utf-8")
            assert not re.search(
                r"AWS_(SECRET_ACCESS_KEY|ACCESS_KEY_ID)[\"']?\s*[:=]\s*[A-Za-z0-9/+]", text
            ), path


def test_images_are_plain_names() -> None:
    base = re.findall(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)
    for image in (*base, *(container["image"] for container in containers())):
        assert re.fullmatch(r"[a-z0-9-]+(:[a-z0-9.-]+)?", image)
    assert f"--tag {containers()[0]['image']} ." in README


def test_the_image_has_the_versions_that_are_tested() -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert f"\nray=={CLUSTER_SPEC['rayVersion']}\n" in constraints
    assert "--constraint /src/constraints.txt" in DOCKERFILE
    extras = re.search(r"/src\[(.*)\]", DOCKERFILE)
    assert extras is not None
    assert "ray" in extras[1].split(",")
    assert "install --yes --no-install-recommends wget" in DOCKERFILE  # KubeRay's probes


def test_the_script_is_one_that_bash_takes_and_says_what_it_needs() -> None:
    subprocess.run(["bash", "-n", JOB], check=True)
    ran = subprocess.run(["bash", JOB], capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "s3://bucket/prefix/" in ran.stderr
