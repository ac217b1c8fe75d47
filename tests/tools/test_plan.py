"""The calculator, by values worked out by hand, and what PLAN.md shows of it."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from plan import (
    DECODE,
    LINE,
    NETWORK,
    READS,
    STORE_LINE,
    STORE_REQUESTS,
    Machine,
    PlanError,
    Store,
    Work,
    limits_of,
    load_measured,
    machines_within,
    make_plan,
    need_of,
    parser_of,
    plan_of,
)

from tests.cli.runner import ROOT, environment
from tests.tools import CLUSTER
from tests.tools.page import PLAN, rows

BENCHMARKS = ROOT / "tools" / "benchmarks"
# A clip of a megabyte, which takes a core a hundredth of a second.
WORK = Work(clips=3_600_000, clip_seconds=10, clip_megabytes=1, decode_core_ms=10)


def planned(*options: str) -> argparse.Namespace:
    return parser_of(None, load_measured()).parse_args(options)


def test_audio_is_counted() -> None:
    assert WORK.audio_hours == 10_000
    assert WORK.terabytes == pytest.approx(3.6)
    assert WORK.windows == 3_600_000


@pytest.mark.parametrize(
    ("seconds", "windows"), [(1, 1), (10, 1), (10.24, 1), (10.25, 2), (20.48, 2), (60, 6), (3600, 352)]
)
def test_a_recording_has_as_many_windows_as_it_takes(seconds: float, windows: int) -> None:
    assert Work(1, seconds, 1, 10).windows_per_clip == windows


def test_each_part_has_its_own_limit() -> None:
    machine = Machine(windows_per_s=500, gpus=2, cores=16, gigabits_per_s=8, reads_at_once=90)
    store = Store(gigabits_per_s=40, requests_per_s=5500, latency_ms=100)
    assert limits_of(WORK, machine, store, machines=4) == pytest.approx(
        {
            NETWORK: 1000,  # 2 × 500
            DECODE: 1600,  # 16 / 0.01 s
            LINE: 1000,  # 1e9 bytes a second, 1e6 each
            READS: 900,  # 90 / 0.1 s
            STORE_LINE: 1250,  # 5e9 / 1e6 / 4
            STORE_REQUESTS: 1375,  # 5500 / 4
        }
    )


def test_what_is_not_given_never_limits() -> None:
    assert limits_of(WORK, Machine(500), Store(latency_ms=100), 3).keys() == {NETWORK, DECODE}


def test_a_long_recording_is_one_object_of_many_windows() -> None:
    minute = Work(clips=100, clip_seconds=60, clip_megabytes=6, decode_core_ms=60)
    limits = limits_of(minute, Machine(1000, cores=2, gigabits_per_s=0.48), Store(requests_per_s=7), 1)
    assert limits == pytest.approx(
        {NETWORK: 1000, DECODE: 200, LINE: 60, STORE_REQUESTS: 42}
    )  # 6 windows each


def test_where_there_is_no_gpu_the_cores_do_both() -> None:
    # A window takes a core 2 s in the network and 0.5 s before it; two cores: 0.8 a second.
    work = Work(clips=10, clip_seconds=10, clip_megabytes=1, decode_core_ms=500)
    limits = limits_of(work, Machine(1.0, cores=2, network_on_cores=True), Store(), 1)
    assert limits == pytest.approx({NETWORK: 0.8})


def test_a_plan_tells_hours_and_cost() -> None:
    plan = make_plan(WORK, Machine(1000, cores=5), Store(), 4, start_minutes=6, price_per_machine_hour=2.5)
    assert plan.bottleneck == DECODE
    assert plan.windows_per_s == pytest.approx(2000)  # 4 × 5 / 0.01
    assert plan.gpu_busy == pytest.approx(0.5)
    assert plan.hours == pytest.approx(0.6)  # 1,800 s, and 6 minutes
    assert plan.machine_hours == pytest.approx(2.4)
    assert plan.cost == pytest.approx(6)


def test_what_keeps_a_gpu_busy() -> None:
    need = need_of(WORK, Machine(1300, gpus=8), Store(latency_ms=150))
    assert need.cores == pytest.approx(13)
    assert need.gigabits_per_s == pytest.approx(10.4)
    assert need.reads_at_once == pytest.approx(195)


def test_a_deadline_tells_how_many_machines() -> None:
    machine = Machine(100, cores=16)  # ten hours alone
    assert machines_within(10, WORK, machine, Store()) == 1
    assert machines_within(9.9, WORK, machine, Store()) == 2
    assert machines_within(1, WORK, machine, Store()) == 10
    assert machines_within(1.5, WORK, machine, Store(), start_minutes=30) == 10


def test_a_deadline_that_the_store_does_not_keep_is_refused() -> None:
    with pytest.raises(PlanError, match=r"the store gives 500 windows a second .* it takes 1,000"):
        machines_within(1, WORK, Machine(100), Store(gigabits_per_s=4))
    with pytest.raises(PlanError, match="nothing is heard"):
        machines_within(0.5, WORK, Machine(100), Store(), start_minutes=30)


def test_options_go_before_what_was_measured() -> None:
    own = [
        "--windows-per-s",
        "200",
        "--decode-core-ms",
        "100",
        "--cores-per-machine",
        "10",
        "--clips",
        "72000",
    ]
    plan = plan_of(planned(*own), load_measured())
    assert plan.limits == pytest.approx({NETWORK: 200, DECODE: 100})
    assert plan.hours == pytest.approx(0.2)
    assert plan.cost is None


@pytest.mark.parametrize("option", ["--cores-per-machine", "--clips", "--windows-per-s", "--within-hours"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "many"])
def test_numbers_that_cannot_be_are_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        planned(option, value)
    assert option in capsys.readouterr().err


def test_estimates_follow_the_device_that_was_measured() -> None:
    document = json.loads((CLUSTER / "measured.json").read_text(encoding="utf-8"))
    devices, filled = document["devices"], load_measured()["devices"]
    for name, device in devices.items():
        assert device["source"]
        assert device["estimate"] == ("windows_per_s" not in device)
        if device["estimate"]:
            like = devices[device["scaled_from"]]
            expected = like["windows_per_s"] * device["tflops"] / like["tflops"]
            assert filled[name]["windows_per_s"] == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(
    ("device", "way"), [("cpu-float32", "torch float32"), ("cpu-bfloat16", "torch bfloat16")]
)
def test_figures_of_the_cpu_are_those_of_the_benchmarks(device: str, way: str) -> None:
    figures = json.loads((BENCHMARKS / "cpu.json").read_text(encoding="utf-8"))
    assert load_measured()["devices"][device]["windows_per_s"] == figures["ways"][way]["clips_per_s"]
    assert load_measured()["devices"][device]["cores"] == figures["machine"]["cores"]


def examples() -> list[tuple[str, str]]:
    blocks = re.findall(r"^```console\n(.*?)^```", PLAN, re.DOTALL | re.MULTILINE)
    parts = [
        part.partition("\n") for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    ]
    return [(line.strip(), output) for line, _, output in parts]


@pytest.mark.parametrize(("line", "output"), [one for one in examples() if one[1]], ids=lambda one: one[:60])
def test_the_plan_shows_what_the_calculator_says(line: str, output: str) -> None:
    python, script, *options = shlex.split(line)
    assert python == "python"
    ran = subprocess.run(
        [sys.executable, ROOT / script, *options],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.strip() == output.strip()


def test_there_is_json_for_other_programs() -> None:
    command = [sys.executable, CLUSTER / "plan.py", "--json", "--machines", "3"]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=60)
    plan = json.loads(ran.stdout)
    assert plan["machines"] == 3
    assert plan["windows"] == 10_000_000
    assert plan["source"] == "H200, float16, measured"


def test_the_table_of_devices_is_what_the_calculator_says() -> None:
    measured = load_measured()
    shown = rows("## Ten million clips")
    assert [row[0].partition(",")[0] for row in shown] == [*measured["devices"]]
    for name, windows, hours, cores, gigabits in shown:
        device, _, estimate = name.partition(", ")
        assert bool(estimate) == measured["devices"][device]["estimate"]
        plan = plan_of(planned("--gpu", device, "--format", "flac", "--cores-per-machine", "200"), measured)
        assert windows == f"{plan.windows_per_s:,.{0 if plan.windows_per_s >= 10 else 1}f}"
        assert hours == f"{plan.hours:,.{0 if plan.hours >= 10 else 1}f}"
        if "cores" in measured["devices"][device]:  # they decode too
            assert cores == gigabits == ""
        else:
            assert cores == f"{plan.need.cores:.1f}"
            assert gigabits == f"{plan.need.gigabits_per_s:.1f}"


@pytest.mark.slow
def test_the_picture_is_drawn(tmp_path: Path) -> None:
    out = tmp_path / "plan.png"
    subprocess.run([sys.executable, CLUSTER / "draw.py", out], env=environment(), check=True, timeout=120)
    assert out.read_bytes().startswith(b"\x89PNG")
