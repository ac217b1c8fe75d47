"""The simulation: it agrees with the calculator where one part sets the pace, and loses no result."""

from __future__ import annotations

import json
from dataclasses import replace

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
    decoding_core_ms,
    load_measured,
    make_plan,
)
from simulate import Details, Outcome, simulate

from tests.cli.runner import ROOT
from tests.tools.page import PLAN, rows

MEASURED = load_measured()
CORES = MEASURED["cores"]
WORK = Work(4000, 10, MEASURED["formats"]["flac"]["megabytes"], decoding_core_ms("flac", MEASURED))
MACHINE = Machine(windows_per_s=1300, cores=48)
STORE = Store(latency_ms=150)
# As many cores as keep the GPU busy on average, and no more.
EQUAL = replace(WORK, clips=6000, decode_core_ms=22 / 1.3), replace(MACHINE, cores=22)


def lower_by(
    work: Work, machine: Machine, store: Store, machines: int, details: Details | None = None
) -> float:
    """By what share the simulation is lower than the calculator, in the middle of the run."""
    planned = make_plan(work, machine, store, machines).windows_per_s
    return 1 - simulate(work, machine, store, machines, details).windows_per_s / planned


REGIMES = {  # as PLAN.md calls them
    "network": (NETWORK, MACHINE, STORE),
    "decode cores (8)": (DECODE, replace(MACHINE, cores=8), STORE),
    "machine's line (4 Gbit/s)": (LINE, replace(MACHINE, gigabits_per_s=4), STORE),
    "store's bandwidth (6 Gbit/s for both)": (STORE_LINE, MACHINE, replace(STORE, gigabits_per_s=6)),
    "store's requests (900 a second for both)": (STORE_REQUESTS, MACHINE, replace(STORE, requests_per_s=900)),
    "reads at once (60)": (READS, replace(MACHINE, reads_at_once=60), STORE),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_where_one_part_sets_the_pace_both_agree_as_the_page_says(regime: str) -> None:
    part, machine, store = REGIMES[regime]
    plan, outcome = make_plan(WORK, machine, store, 2), simulate(WORK, machine, store, 2)
    assert plan.bottleneck == part
    assert outcome.windows_per_s == pytest.approx(plan.windows_per_s, rel=0.02)
    [shown] = [row[1:] for row in rows("**Where one part sets the pace") if row[0] == regime]
    assert shown == [f"{plan.windows_per_s:,.0f}", f"{outcome.windows_per_s:,.0f}"]


def test_several_gpus_are_as_fast_as_all_together() -> None:
    assert lower_by(WORK, replace(MACHINE, gpus=2, cores=96), STORE, 2) == pytest.approx(0, abs=0.03)


def test_clips_that_differ_do_not_matter_where_one_part_sets_the_pace() -> None:
    spread = Details(decode_spread=0.5, latency_spread=0.5)
    assert lower_by(WORK, replace(MACHINE, cores=30), STORE, 1, spread) == pytest.approx(0, abs=0.01)
    assert lower_by(WORK, replace(MACHINE, cores=10), STORE, 1, spread) == pytest.approx(0, abs=0.03)


def test_recordings_of_several_windows_agree_too() -> None:
    minute = Work(clips=600, clip_seconds=60, clip_megabytes=6, decode_core_ms=100)
    assert lower_by(minute, replace(MACHINE, cores=32), STORE, 1) == pytest.approx(0, abs=0.03)  # the GPU
    assert lower_by(minute, replace(MACHINE, cores=8), STORE, 1) == pytest.approx(0, abs=0.03)  # the cores


def test_at_a_crossover_clips_that_differ_cost_some_per_cent() -> None:
    """Now one part waits, now the other, and what a queue of one batch holds does not bridge it."""
    alike = lower_by(*EQUAL, STORE, 1, Details(windows_ahead=32))
    differ = lower_by(*EQUAL, STORE, 1, Details(windows_ahead=32, decode_spread=1))
    longer = lower_by(*EQUAL, STORE, 1, Details(windows_ahead=256, decode_spread=1))
    assert alike == pytest.approx(0, abs=0.005)
    assert 0.01 < differ < 0.07
    assert longer < differ
    more_cores = replace(EQUAL[1], cores=25)  # a tenth more
    assert lower_by(EQUAL[0], more_cores, STORE, 1, Details(windows_ahead=32, decode_spread=1)) < 0.01


def test_formats_that_come_in_runs_cost_more_than_any_queue_bridges() -> None:
    """In every second shard decoding takes 1.4 times as long: 1 / (1 + 0.4 / 2) of the pace is left."""
    work, machine = EQUAL
    assert lower_by(work, machine, STORE, 1, Details(shard_spread=0.4)) == pytest.approx(
        1 - 1 / 1.2, abs=0.05
    )


def test_a_machine_that_dies_costs_time_and_no_result() -> None:
    work, machine = EQUAL
    whole = simulate(work, machine, STORE, 3, Details(shard_clips=250))
    back = simulate(work, machine, STORE, 3, Details(shard_clips=250, dies_at_s=0.7, back_after_s=0.3))
    gone = simulate(work, machine, STORE, 3, Details(shard_clips=250, dies_at_s=0.7))
    for outcome in (whole, back, gone):
        assert outcome.shards == work.clips / 250  # each once
    assert whole.windows_again == 0
    assert back.windows_again == gone.windows_again
    assert 0 < gone.windows_again < 2 * 250 + 64  # what it had begun
    assert whole.seconds < back.seconds < gone.seconds
    # The others take over: two machines for what was left.
    assert gone.seconds < whole.seconds * 1.7


def test_smaller_shards_lose_less() -> None:
    work, machine = EQUAL
    again = [
        simulate(work, machine, STORE, 2, Details(shard_clips=size, dies_at_s=1.0)).windows_again
        for size in (100, 1500)
    ]
    assert again[0] < again[1]


def test_nobody_left_is_said() -> None:
    with pytest.raises(PlanError, match="every machine has died"):
        simulate(WORK, MACHINE, STORE, 1, Details(dies_at_s=0.5))


def test_the_same_seed_is_the_same_run() -> None:
    details = Details(decode_spread=1, latency_spread=1, seed=3)
    assert simulate(*EQUAL, STORE, 1, details) == simulate(*EQUAL, STORE, 1, details)


def on_two_cores(model: str, clips: int, times: float = 1.0, start_s: float = 0.0) -> Outcome:
    """The measured stages of WAV clips on two cores that do everything; all of them so many times as long."""
    before = decoding_core_ms("wav", MEASURED) + CORES["fbank_core_ms"]
    work = Work(clips, 10, 1.764, before * times)
    network_s = CORES["network_core_ms"][model] / 1e3 * times
    machine = Machine(2 / network_s, cores=2, network_on_cores=True)
    details = Details(batch_size=8, read_ahead_clips=1, windows_ahead=16, write_s=0, start_s=start_s)
    return simulate(work, machine, Store(), 1, details)


@pytest.mark.parametrize("model", ["tiny", "full-size"])
def test_measured_stages_give_the_measured_whole_run(model: str) -> None:
    measured_ms, simulated_ms = CORES["whole_core_ms"][model], 2e3 / on_two_cores(model, 96).windows_per_s
    assert simulated_ms == pytest.approx(measured_ms, rel=0.05)
    for shown in (measured_ms, simulated_ms):
        assert f"{shown:,.0f} ms" in PLAN


def test_one_number_from_a_short_run_gives_the_longer_ones() -> None:
    """`flat.json` and `cpu.json` are of another processor, whose speed is taken from 10 to 100 files."""
    flat = json.loads((ROOT / "tools" / "benchmarks" / "flat.json").read_text(encoding="utf-8"))
    step_s = flat["ms_a_clip_more"]["10 to 100"] / 1e3
    times = step_s * on_two_cores("tiny", 96).windows_per_s
    start_s = flat["seconds"]["10"] - 10 * step_s

    thousand = on_two_cores("tiny", 1000, times, start_s).seconds
    assert thousand == pytest.approx(flat["seconds"]["1000"], rel=0.03)
    assert f"{thousand:.1f} s" in PLAN

    cpu = json.loads((ROOT / "tools" / "benchmarks" / "cpu.json").read_text(encoding="utf-8"))
    way = cpu["ways"]["torch float32"]
    start_s = way["first_label_s"] - on_two_cores("full-size", 1, times).seconds
    full_size = on_two_cores("full-size", cpu["clips"], times, start_s).seconds
    assert full_size == pytest.approx(way["whole_s"], rel=0.2)
    assert f"{full_size:.1f} s" in PLAN
