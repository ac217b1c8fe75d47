"""How many machines, hours and how much money a lot of audio takes, from measured figures; see PLAN.md.

python tools/cluster/plan.py --gpu H200 --format flac --cores-per-machine 16 --within-hours 6
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).with_name("measured.json")
WINDOW_SECONDS = 10.24
MEASURED_SECONDS = 10.0  # of the clips in `measured.json`

NETWORK, DECODE, LINE, READS = "network", "decode cores", "machine's line", "reads at once"
STORE_LINE, STORE_REQUESTS = "store's bandwidth", "store's requests"


class PlanError(ValueError):
    """What is asked for cannot be; the message says why."""


@dataclass(frozen=True)
class Work:
    """What is to be heard.

    Attributes:
        clips: Recordings, each an object in the store.
        clip_seconds: Length of each.
        clip_megabytes: Size of each, in millions of bytes.
        decode_core_ms: What one core takes to decode and resample one.
    """

    clips: int
    clip_seconds: float
    clip_megabytes: float
    decode_core_ms: float

    @property
    def windows_per_clip(self) -> int:
        """Windows without overlap, the last one aligned to the end."""
        return max(1, math.ceil(self.clip_seconds / WINDOW_SECONDS - 1e-9))

    @property
    def windows(self) -> int:
        """Of all clips."""
        return self.clips * self.windows_per_clip

    @property
    def audio_hours(self) -> float:
        """Of all clips."""
        return self.clips * self.clip_seconds / 3600

    @property
    def terabytes(self) -> float:
        """Of all clips."""
        return self.clips * self.clip_megabytes / 1e6


@dataclass(frozen=True)
class Machine:
    """One of the machines, all alike.

    Attributes:
        windows_per_s: What the network does on one GPU.
        gpus: In it.
        cores: That decode.
        gigabits_per_s: Of its line to the store; None for one that never limits.
        reads_at_once: Objects that it asks for before the first has come; None for as many as it takes.
        network_on_cores: There is no GPU: `windows_per_s` is of all cores together, and they decode too.
    """

    windows_per_s: float
    gpus: int = 1
    cores: int = 16
    gigabits_per_s: float | None = None
    reads_at_once: int | None = None
    network_on_cores: bool = False


@dataclass(frozen=True)
class Store:
    """The object store that all machines share.

    Attributes:
        gigabits_per_s: Of all its answers together; None for one that never limits.
        requests_per_s: Likewise; a clip is one.
        latency_ms: From asking to the first byte.
    """

    gigabits_per_s: float | None = None
    requests_per_s: float | None = None
    latency_ms: float = 0.0


@dataclass(frozen=True)
class Need:
    """What keeps one GPU of the machine busy.

    Attributes:
        cores: That decode.
        gigabits_per_s: From the store.
        reads_at_once: Objects on their way.
    """

    cores: float
    gigabits_per_s: float
    reads_at_once: float


@dataclass(frozen=True)
class Plan:
    """What the work takes.

    Attributes:
        audio_hours: Of all clips.
        windows: Likewise.
        terabytes: Likewise.
        machines: Alike.
        limits: Windows a second that each part of one machine could do alone; of what the store could, one
            machine's part.
        bottleneck: The part with the lowest limit.
        windows_per_s: Of all machines.
        gpu_busy: Share of the time in which the network computes.
        need: See `Need`.
        hours: From start to end.
        machine_hours: All together.
        cost: At the price that was given; None without one.
    """

    audio_hours: float
    windows: int
    terabytes: float
    machines: int
    limits: dict[str, float]
    bottleneck: str
    windows_per_s: float
    gpu_busy: float
    need: Need
    hours: float
    machine_hours: float
    cost: float | None


def limits_of(work: Work, machine: Machine, store: Store, machines: int) -> dict[str, float]:
    """Windows a second that each part of one machine could do alone; what never limits is left out."""
    per_clip = work.windows_per_clip
    network = machine.windows_per_s * machine.gpus
    decode_core_s = work.decode_core_ms / 1e3
    if machine.network_on_cores:
        core_s = per_clip * machine.cores / network + decode_core_s  # of a clip
        return {NETWORK: per_clip * machine.cores / core_s, **_reading(work, machine, store, machines)}
    limits = {NETWORK: network}
    if decode_core_s > 0:
        limits[DECODE] = per_clip * machine.cores / decode_core_s
    return {**limits, **_reading(work, machine, store, machines)}


def _reading(work: Work, machine: Machine, store: Store, machines: int) -> dict[str, float]:
    per_clip, bits = work.windows_per_clip, work.clip_megabytes * 8e6
    limits = {}
    if machine.gigabits_per_s is not None:
        limits[LINE] = per_clip * machine.gigabits_per_s * 1e9 / bits
    if machine.reads_at_once is not None and store.latency_ms > 0:
        limits[READS] = per_clip * machine.reads_at_once / (store.latency_ms / 1e3)
    if store.gigabits_per_s is not None:
        limits[STORE_LINE] = per_clip * store.gigabits_per_s * 1e9 / bits / machines
    if store.requests_per_s is not None:
        limits[STORE_REQUESTS] = per_clip * store.requests_per_s / machines
    return limits


def need_of(work: Work, machine: Machine, store: Store) -> Need:
    """What keeps one GPU busy."""
    clips_per_s = machine.windows_per_s / work.windows_per_clip
    return Need(
        cores=clips_per_s * work.decode_core_ms / 1e3,
        gigabits_per_s=clips_per_s * work.clip_megabytes * 8 / 1e3,
        reads_at_once=clips_per_s * store.latency_ms / 1e3,
    )


def make_plan(
    work: Work,
    machine: Machine,
    store: Store,
    machines: int,
    *,
    start_minutes: float = 0.0,
    price_per_machine_hour: float | None = None,
) -> Plan:
    """What the work takes on so many machines.

    Args:
        work: What is to be heard.
        machine: One of them.
        store: Where the clips lie.
        machines: How many.
        start_minutes: Until a machine hears its first window; paid, as the rest.
        price_per_machine_hour: In any currency.
    """
    limits = limits_of(work, machine, store, machines)
    bottleneck = min(limits, key=limits.__getitem__)
    windows_per_s = limits[bottleneck] * machines
    hours = work.windows / windows_per_s / 3600 + start_minutes / 60
    machine_hours = machines * hours
    return Plan(
        audio_hours=work.audio_hours,
        windows=work.windows,
        terabytes=work.terabytes,
        machines=machines,
        limits=limits,
        bottleneck=bottleneck,
        windows_per_s=windows_per_s,
        gpu_busy=limits[bottleneck] / limits[NETWORK],
        need=need_of(work, machine, store),
        hours=hours,
        machine_hours=machine_hours,
        cost=None if price_per_machine_hour is None else machine_hours * price_per_machine_hour,
    )


def machines_within(
    hours: float, work: Work, machine: Machine, store: Store, *, start_minutes: float = 0.0
) -> int:
    """The fewest machines that are done within so many hours.

    Raises:
        PlanError: No number of them is.
    """
    left = hours - start_minutes / 60
    if left <= 0:
        raise PlanError(
            f"nothing is heard within {hours:g} hours if a machine starts in {start_minutes:g} minutes"
        )
    needed = work.windows / (left * 3600)
    alone = limits_of(work, machine, store, 1)
    shared = min((alone[part] for part in (STORE_LINE, STORE_REQUESTS) if part in alone), default=math.inf)
    if shared < needed:
        raise PlanError(
            f"the store gives {shared:,.0f} windows a second to any number of machines, "
            f"and it takes {needed:,.0f} to be done within {hours:g} hours"
        )
    own = min(limit for part, limit in alone.items() if part not in (STORE_LINE, STORE_REQUESTS))
    return max(1, math.ceil(needed / own - 1e-9))


def load_measured(path: Path = MEASURED) -> dict[str, Any]:
    """The measured figures, with those of devices that are only estimated filled in from the measured one."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    devices = document["devices"]
    for device in devices.values():
        if device["estimate"]:
            like = devices[device["scaled_from"]]
            device["windows_per_s"] = round(like["windows_per_s"] * device["tflops"] / like["tflops"])
    return document


def decoding_core_ms(suffix: str, measured: dict[str, Any]) -> float:
    """What one core takes to decode and resample a measured clip; on a GPU, the frames are made there."""
    cores = measured["cores"]
    return float(cores["decode_core_ms"][suffix] + cores["resample_core_ms"])


def positive(text: str) -> float:
    """An option's number above zero."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def positive_int(text: str) -> int:
    """Likewise, a whole one."""
    return int(positive(str(int(text))))


def parser_of(description: str | None, measured: dict[str, Any]) -> argparse.ArgumentParser:
    """The options of a plan, each with its unit in its name."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--clips", type=positive_int, default=10_000_000)
    add("--clip-seconds", type=positive, default=MEASURED_SECONDS)
    add(
        "--format",
        choices=measured["formats"],
        default="wav",
        help="44.1 kHz, stereo; says size and decoding",
    )
    add("--clip-megabytes", type=positive, help="instead of the format's")
    add("--decode-core-ms", type=positive, help="to decode and resample a clip, instead of the format's")
    add("--gpu", choices=measured["devices"], default="H200", help="says windows a second")
    add("--windows-per-s", type=positive, help="of the network on one GPU, as measured; instead of --gpu")
    add("--gpus-per-machine", type=positive_int, default=1)
    add("--cores-per-machine", type=positive_int, default=16)
    add("--machine-gigabits-per-s", type=positive, help="of a machine's line; unlimited if not given")
    add("--reads-at-once", type=positive_int, help="of a machine; as many as it takes if not given")
    add("--store-gigabits-per-s", type=positive, help="of the store, for all; unlimited if not given")
    add("--store-requests-per-s", type=positive, help="of the store, for all; unlimited if not given")
    add("--store-latency-ms", type=float, default=150.0)
    add("--start-minutes", type=float, default=0.0, help="until a machine hears its first window")
    add("--price-per-machine-hour", type=float, help="yours, in any currency")
    many = parser.add_mutually_exclusive_group()
    many.add_argument("--machines", type=positive_int)
    many.add_argument("--within-hours", type=positive, help="as few machines as are done by then")
    add("--json", action="store_true")
    return parser


def parts_of(args: argparse.Namespace, measured: dict[str, Any]) -> tuple[Work, Machine, Store]:
    """What the options describe."""
    times = args.clip_seconds / MEASURED_SECONDS
    form, device = measured["formats"][args.format], measured["devices"][args.gpu]
    core_ms = decoding_core_ms(args.format, measured)
    on_cores = device.get("cores") is not None and args.windows_per_s is None
    if on_cores:
        core_ms = 0.0  # what was measured is whole runs
    work = Work(
        clips=args.clips,
        clip_seconds=args.clip_seconds,
        clip_megabytes=form["megabytes"] * times if args.clip_megabytes is None else args.clip_megabytes,
        decode_core_ms=core_ms * times if args.decode_core_ms is None else args.decode_core_ms,
    )
    machine = Machine(
        windows_per_s=args.windows_per_s or device["windows_per_s"],
        gpus=args.gpus_per_machine,
        cores=device["cores"] if on_cores else args.cores_per_machine,
        gigabits_per_s=args.machine_gigabits_per_s,
        reads_at_once=args.reads_at_once,
        network_on_cores=on_cores,
    )
    return work, machine, Store(args.store_gigabits_per_s, args.store_requests_per_s, args.store_latency_ms)


def plan_of(args: argparse.Namespace, measured: dict[str, Any]) -> Plan:
    """The plan that the options ask for.

    Raises:
        PlanError: There is none.
    """
    work, machine, store = parts_of(args, measured)
    if args.within_hours is not None:
        machines = machines_within(args.within_hours, work, machine, store, start_minutes=args.start_minutes)
    else:
        machines = args.machines or 1
    return make_plan(
        work,
        machine,
        store,
        machines,
        start_minutes=args.start_minutes,
        price_per_machine_hour=args.price_per_machine_hour,
    )


def few(number: float) -> str:
    """Three digits of what is small, all of what is large."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def source_of(args: argparse.Namespace, measured: dict[str, Any]) -> str:
    """Where the speed of the network is from."""
    if args.windows_per_s is not None:
        return "as given"
    device = measured["devices"][args.gpu]
    how = f"an estimate: {device['scaled_from']} by data sheet" if device["estimate"] else "measured"
    return f"{args.gpu}, {device['dtype']}, {how}"


def table(plan: Plan, source: str) -> str:
    """The plan, to be read."""
    audio = f"{plan.audio_hours:,.0f} hours of audio, {plan.windows:,} windows, {few(plan.terabytes)} TB"
    lines = [
        f"{audio}; {source}",
        "",
        f"{'part of a machine':<20}{'windows/s':>10}",
    ]
    for part, limit in sorted(plan.limits.items(), key=lambda one: one[1]):
        lines.append(f"{part:<20}{few(limit):>10}{'  <- sets the pace' if part == plan.bottleneck else ''}")
    need = plan.need
    lines.append("")
    if need.cores:
        lines.append(
            f"one GPU is busy with {few(need.cores)} cores, {few(need.gigabits_per_s)} Gbit/s and "
            f"{few(need.reads_at_once)} reads at once; here {plan.gpu_busy:.0%} of the time"
        )
    lines += [
        f"{plan.machines} machine{'s' * (plan.machines != 1)}: {few(plan.windows_per_s)} windows/s, "
        f"{few(plan.hours)} hours, {few(plan.machine_hours)} machine hours"
        + ("" if plan.cost is None else f", cost {plan.cost:,.2f}"),
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the plan that the options ask for."""
    measured = load_measured()
    parser = parser_of(__doc__, measured)
    args = parser.parse_args()
    try:
        plan = plan_of(args, measured)
    except PlanError as error:
        sys.exit(f"plan.py: {error}")
    source = source_of(args, measured)
    print(json.dumps({**asdict(plan), "source": source}, indent=2) if args.json else table(plan, source))


if __name__ == "__main__":
    main()
