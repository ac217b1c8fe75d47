"""The pipeline of a plan, clip by clip: what its queues cost, and a machine that dies; see PLAN.md.

python tools/cluster/simulate.py --gpu H200 --format flac --cores-per-machine 24 --machines 2
    [--simulated-clips 20000] [--batch-size 32] [--decode-spread 0.5] [--dies-at-s 5 --back-after-s 10]

Takes the options of plan.py, which it is compared with. Needs simpy.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, replace
from typing import Any

import simpy
from plan import Machine, PlanError, Store, Work, limits_of, load_measured, parser_of, parts_of, plan_of

Steps = Generator[simpy.Event, Any, None]
STEADY = (
    0.2,
    0.7,
)  # of all windows: between these, every queue has filled and no machine has run out of work


@dataclass(frozen=True)
class Details:
    """What a plan does not know.

    Attributes:
        batch_size: Windows that a GPU takes at once.
        read_ahead_clips: Fetched and not yet decoded, at most, on a machine.
        windows_ahead: Decoded and not yet taken by the network, at most, on a machine.
        shard_clips: Of which the results are written together; what a dead machine had begun is begun anew.
        write_s: To write the results of a shard; the next one goes on meanwhile.
        decode_spread: Standard deviation over mean of what decoding a clip takes; 0 for all alike.
        shard_spread: By what share of the mean decoding takes longer in every second shard, and less long in
            the others: formats that come in runs.
        latency_spread: As `decode_spread`, of the store's latency.
        start_s: Until a machine asks for its first clip.
        dies_at_s: When the first machine dies; None for never.
        back_after_s: How long it is away then; None for ever.
        seed: Of the spreads.
    """

    batch_size: int = 32
    read_ahead_clips: int = 64
    windows_ahead: int = 64
    shard_clips: int = 500
    write_s: float = 0.2
    decode_spread: float = 0.0
    shard_spread: float = 0.0
    latency_spread: float = 0.0
    start_s: float = 0.0
    dies_at_s: float | None = None
    back_after_s: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """How it went.

    Attributes:
        seconds: Until the last shard was written.
        windows_per_s: Of all machines, between `STEADY` of the work.
        gpu_busy: Share of all seconds of all machines in which a network computed.
        cores_busy: Likewise of cores that decoded.
        shards: Written, each once.
        windows_again: Computed and lost with a machine, and computed anew.
    """

    seconds: float
    windows_per_s: float
    gpu_busy: float
    cores_busy: float
    shards: int
    windows_again: int


@dataclass(eq=False)
class _Shard:
    """Clips of which the results are written together."""

    clips: int
    decode_s: float  # of a clip, on average
    waiting: int = 0  # clips that nobody has asked for yet
    missing: int = 0  # windows that the network has not had yet

    def begin(self, windows_per_clip: int) -> None:
        self.waiting, self.missing = self.clips, self.clips * windows_per_clip


class _Line:
    """What serves one after the other, each for some seconds, in the order in which they ask."""

    def __init__(self) -> None:
        self._free = 0.0

    def served(self, now: float, seconds: float) -> float:
        """When it has served the one that asks now."""
        self._free = max(now, self._free) + seconds
        return self._free


class _Cluster:
    """All machines, the store, and the shards that are to be done."""

    def __init__(self, work: Work, machine: Machine, store: Store, machines: int, details: Details) -> None:
        self.work, self.machine, self.store, self.details = work, machine, store, details
        self.env = simpy.Environment()
        self.random = random.Random(details.seed)
        whole, rest = divmod(work.clips, details.shard_clips)
        sizes = [details.shard_clips] * whole + [rest] * (rest > 0)
        self.queue = deque(
            _Shard(clips, work.decode_core_ms / 1e3 * (1 + (-1) ** number * details.shard_spread))
            for number, clips in enumerate(sizes)
        )
        self.shards = len(self.queue)
        self.written = 0
        self.all_written = self.env.event()
        self.more = self.env.event()  # shards have come back
        self.store_line, self.store_requests = _Line(), _Line()
        self.done: list[tuple[float, int]] = []  # when, and how many windows
        self.network_s = self.decode_s = 0.0
        self.again = 0
        self.running = [_Running(self) for _ in range(machines)]
        if details.dies_at_s is not None:
            self.env.process(self._die(details.dies_at_s))

    def spread(self, mean: float, spread: float) -> float:
        """A time of that mean, from a gamma distribution."""
        if spread == 0 or mean == 0:
            return mean
        shape = spread**-2
        return self.random.gammavariate(shape, mean / shape)

    def give_back(self, shards: list[_Shard]) -> None:
        """What a machine had not finished, to whoever is free."""
        self.queue.extend(shards)
        self.more.succeed()
        self.more = self.env.event()

    def _die(self, at: float) -> Steps:
        yield self.env.timeout(at)
        self.running[0].die()
        if self.details.back_after_s is not None:
            yield self.env.timeout(self.details.back_after_s)
            self.running[0] = _Running(self)


class _Running:
    """A machine from its start to its end."""

    def __init__(self, cluster: _Cluster) -> None:
        self._cluster = cluster
        env, machine, details = cluster.env, cluster.machine, cluster.details
        self._env = env
        self._alive = True
        self._line = _Line()
        self._fetched = simpy.Store(env, capacity=details.read_ahead_clips)
        self._windows = simpy.Store(env, capacity=max(details.windows_ahead, details.batch_size))
        self._cores = simpy.Resource(env, capacity=machine.cores)
        self._shard: _Shard | None = None  # of which clips are asked for
        self._open: list[_Shard] = []  # begun and not written
        self._on_their_way = 0  # windows that were asked for and that the network has not had
        reads = machine.reads_at_once or math.ceil(
            1.5 * self._rate() * cluster.store.latency_ms / 1e3 + details.read_ahead_clips
        )
        makers: list[Callable[[], Steps]] = [*[self._fetch] * reads, *[self._decode] * machine.cores]
        for make in (*makers, self._compute):
            env.process(self._after_start(make))

    def _rate(self) -> float:
        """Clips a second that the machine may take at most."""
        cluster = self._cluster
        unlimited = replace(cluster.machine, reads_at_once=None)
        limits = limits_of(cluster.work, unlimited, cluster.store, 1)
        return min(limits.values()) / cluster.work.windows_per_clip

    def die(self) -> None:
        """Everything that it has not written is begun anew, by whoever is free."""
        self._alive = False
        for shard in self._open:
            self._cluster.again += shard.clips * self._cluster.work.windows_per_clip - shard.missing
        self._cluster.give_back(self._open)

    def _after_start(self, make: Callable[[], Steps]) -> Steps:
        yield self._env.timeout(self._cluster.details.start_s)
        steps, value = make(), None
        while self._alive:  # a dead machine's steps end at their next event
            try:
                event = steps.send(value)
            except StopIteration:
                return
            value = yield event

    def _next_shard(self) -> bool:
        if self._shard is None or self._shard.waiting == 0:
            if not self._cluster.queue:
                return False
            self._shard = self._cluster.queue.popleft()
            self._shard.begin(self._cluster.work.windows_per_clip)
            self._open.append(self._shard)
        return True

    def _fetch(self) -> Steps:
        cluster, env, store = self._cluster, self._env, self._cluster.store
        bits = cluster.work.clip_megabytes * 8e6
        while not cluster.all_written.triggered:
            if not self._next_shard():
                yield cluster.more | cluster.all_written
                continue
            shard = self._shard
            assert shard is not None
            shard.waiting -= 1
            self._on_their_way += cluster.work.windows_per_clip
            if store.requests_per_s is not None:
                yield env.timeout(cluster.store_requests.served(env.now, 1 / store.requests_per_s) - env.now)
            yield env.timeout(cluster.spread(store.latency_ms / 1e3, cluster.details.latency_spread))
            arrives = env.now
            if store.gigabits_per_s is not None:
                arrives = cluster.store_line.served(env.now, bits / store.gigabits_per_s / 1e9)
            if cluster.machine.gigabits_per_s is not None:
                own = self._line.served(env.now, bits / cluster.machine.gigabits_per_s / 1e9)
                arrives = max(arrives, own)
            yield env.timeout(arrives - env.now)
            yield self._fetched.put(shard)

    def _decode(self) -> Steps:
        cluster, env = self._cluster, self._env
        windows = cluster.work.windows_per_clip
        while True:
            shard: _Shard = yield self._fetched.get()
            each = cluster.spread(shard.decode_s, cluster.details.decode_spread) / windows
            for _ in range(windows):  # a window can be taken as soon as it is there
                if cluster.machine.network_on_cores:
                    with self._cores.request() as core:
                        yield core
                        yield env.timeout(each)
                else:
                    yield env.timeout(each)
                cluster.decode_s += each
                yield self._windows.put(shard)

    def _compute(self) -> Steps:
        cluster, env, machine = self._cluster, self._env, self._cluster.machine
        window_s = 1 / (machine.windows_per_s * machine.gpus)  # the GPUs of a machine are one, as fast as all
        size = cluster.details.batch_size * machine.gpus
        while True:
            batch: list[_Shard] = []
            while len(batch) < size:
                batch.append((yield self._windows.get()))
                if self._on_their_way == len(batch) and not self._next_shard():
                    break  # no other window will come: this batch need not be full
            if machine.network_on_cores:
                parts = [
                    env.process(self._on_core(len(batch[first :: machine.cores]) * window_s * machine.cores))
                    for first in range(min(machine.cores, len(batch)))
                ]
                yield simpy.AllOf(env, parts)
            else:
                yield env.timeout(len(batch) * window_s)
            cluster.network_s += len(batch) * window_s
            self._on_their_way -= len(batch)
            cluster.done.append((env.now, len(batch)))
            for shard in batch:
                shard.missing -= 1
                if shard.missing == 0:
                    env.process(self._write(shard))

    def _on_core(self, seconds: float) -> Steps:
        with self._cores.request() as core:
            yield core
            yield self._env.timeout(seconds)

    def _write(self, shard: _Shard) -> Steps:
        yield self._env.timeout(self._cluster.details.write_s)
        if self._alive:
            self._open.remove(shard)
            self._cluster.written += 1
            if self._cluster.written == self._cluster.shards:
                self._cluster.all_written.succeed()


def simulate(
    work: Work, machine: Machine, store: Store, machines: int, details: Details | None = None
) -> Outcome:
    """Run the work from start to end.

    Raises:
        PlanError: Every machine has died, and no other comes.
    """
    cluster = _Cluster(work, machine, store, machines, details or Details())
    try:
        cluster.env.run(until=cluster.all_written)
    except RuntimeError as error:  # of simpy: nothing will happen any more
        raise PlanError("every machine has died before all was done") from error
    seconds = cluster.env.now
    return Outcome(
        seconds=seconds,
        windows_per_s=_steady(cluster.done, work.windows),
        gpu_busy=cluster.network_s / seconds / machines,
        cores_busy=cluster.decode_s / seconds / machines / machine.cores,
        shards=cluster.written,
        windows_again=cluster.again,
    )


def _steady(done: list[tuple[float, int]], windows: int) -> float:
    """Windows a second between `STEADY` of all."""
    seen, heard = 0, {}
    for when, count in done:  # in the order of time; machines that are alike finish at once
        seen += count
        heard[round(when, 9)] = seen
    low, high = (next((one for one in heard.items() if one[1] >= share * windows), None) for share in STEADY)
    if low is None or high is None or high[0] <= low[0]:
        return math.nan
    return (high[1] - low[1]) / (high[0] - low[0])


def main() -> None:
    """Print what the plan says and what the simulation does."""
    measured = load_measured()
    parser = parser_of(__doc__, measured)
    defaults = Details()
    parser.add_argument("--simulated-clips", type=int, default=20_000, help="of --clips; the rest is alike")
    parser.add_argument("--batch-size", type=int, default=defaults.batch_size)
    parser.add_argument("--read-ahead-clips", type=int, default=defaults.read_ahead_clips)
    parser.add_argument("--windows-ahead", type=int, default=defaults.windows_ahead)
    parser.add_argument("--shard-clips", type=int, default=defaults.shard_clips)
    parser.add_argument("--write-s", type=float, default=defaults.write_s)
    parser.add_argument("--decode-spread", type=float, default=0.0, help="standard deviation over mean")
    parser.add_argument(
        "--shard-spread", type=float, default=0.0, help="longer and less long in turns, by this"
    )
    parser.add_argument("--latency-spread", type=float, default=0.0, help="as --decode-spread")
    parser.add_argument("--start-s", type=float, default=0.0)
    parser.add_argument("--dies-at-s", type=float, help="when the first machine dies")
    parser.add_argument("--back-after-s", type=float, help="how long it is away; for ever if not given")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    details = Details(**{name: getattr(args, name) for name in asdict(defaults)})
    try:
        plan = plan_of(args, measured)
        work, machine, store = parts_of(args, measured)
        outcome = simulate(replace(work, clips=args.simulated_clips), machine, store, plan.machines, details)
    except PlanError as error:
        sys.exit(f"simulate.py: {error}")
    lower = 1 - outcome.windows_per_s / plan.windows_per_s
    if args.json:
        both = {"plan": asdict(plan), "simulation": asdict(outcome), "lower_by": lower}
        print(json.dumps(both, indent=2))
        return
    print(f"plan        {plan.windows_per_s:>9,.1f} windows/s, {plan.bottleneck} sets the pace")
    apart = f"{abs(lower):.1%} {'lower' if lower >= 0 else 'higher'}"
    print(f"simulation  {outcome.windows_per_s:>9,.1f} windows/s, {apart}")
    print(
        f"{outcome.shards} shards in {outcome.seconds:,.1f} s, GPU busy {outcome.gpu_busy:.0%}, "
        f"cores {outcome.cores_busy:.0%}, {outcome.windows_again:,} windows computed again"
    )


if __name__ == "__main__":
    main()
