"""What libsndfile does not read, by PyAV (extra `av`): samples where their time stamps put them.

What was lost, or never there, is silence, so that whatever comes later keeps its time; damage is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, pairwise
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# To FFmpeg a playlist or the description of a broadcast is a recording like any other: it would open what
# the text names, another file or an address on the network, and wait for it. Without protocols it cannot.
ALONE = {"protocol_whitelist": "none"}
GAP_SECONDS = 0.1  # below, time stamps and samples may differ, as they may to FFmpeg's `aresample=async=1`
MOST_SILENCE = 3600  # seconds in all: damaged time stamps would make days
MOST_FAULTS = 100  # in a row; what goes on like this is no audio
CUT_SECONDS = 0.5  # that a file may end before its header says
# Containers with time stamps of their own; of others FFmpeg counts bytes or packets.
TIMED = ("matroska", "mov", "asf", "flv", "flac", "ogg", "mpeg", "mpegts", "wv", "nut", "rm", "mxf")
TAGS = (b"ID3", b"TAG", b"APE")
# Containers whose header says how long they are; of others FFmpeg guesses it from the bit rate.
TELLING = ("matroska", "mov", "asf", "avi", "flv", "flac", "wv", "tta", "ape", "caf")


def errors() -> tuple[type[Exception], ...]:
    """What PyAV raises for a damaged file."""
    import av

    # FFmpeg seeks where the damage tells it to, which Python's file may refuse; and names may be no UTF-8.
    return av.FFmpegError, OSError, ValueError


def reason(error: Exception) -> str:
    """What FFmpeg says is wrong."""
    return getattr(error, "strerror", None) or str(error)


class AvFile:
    """The first audio stream of a file.

    Args:
        file: Unbuffered; read from its start.
        stack: Closes what is opened.
        from_zero: Whether what comes before the first time stamp was lost.

    Attributes:
        sample_rate: In Hz; 0 if there is no sound, or the header is damaged.
        channels: Their number, or 0.
        has_sound: Whether there is an audio stream.
        warnings: What turned out wrong; complete once `blocks` was read.

    Raises:
        Exception: One of `errors()`: it cannot be opened.
    """

    def __init__(self, file: IO[bytes], stack: ExitStack, *, from_zero: bool = False) -> None:
        import av

        file.seek(0)
        self._container: Any = stack.enter_context(av.open(file, mode="r", options=ALONE))
        self._stream: Any = next(iter(self._container.streams.audio), None)
        codec = self._stream and self._stream.codec_context
        self.has_sound = self._stream is not None
        self.sample_rate: int = (codec and codec.sample_rate) or 0
        self.channels: int = (codec and codec.channels) or 0
        self.warnings: list[str] = []
        self._layout = codec and codec.layout
        self._is_timed = self._container.format.name.startswith(TIMED)
        tells = self._container.format.name.startswith(TELLING)
        self._told = (self._container.duration or 0) / av.time_base if tells else 0.0
        start = (self._container.start_time or 0) / av.time_base
        # A recording of a broadcast begins anywhere. Where the header tells an end, time begins at 0.
        self._start = 0.0 if from_zero or 0 < start < self._told else start
        self._origin = self._start  # the time of sample 0; another one where time stamps begin anew
        self._reach = 0.0  # how far the packets of all streams go, in seconds
        self._done = 0  # samples that came out, silence among them
        self._silence = self._first_silence = 0  # samples, of all gaps and of the first
        self._faults = self._in_a_row = 0  # packets that cannot be decoded: of all, and of the last ones
        self._last_fault: Exception | None = None
        self._first_fault = self._first_gap = self._first_leap = -1.0  # seconds; below 0 there is none

    def blocks(self, length: int, first: int = 0) -> Iterator[NDArray[np.float32]]:
        """[samples, channels], `length` samples each but for the last, from sample `first` on; read once.

        Raises:
            Exception: One of `errors()`: nothing can be decoded.
        """
        block, filled = np.empty((length, self.channels), np.float32), 0
        for piece in self._pieces(length):
            left = piece[first:] if first else piece
            first -= len(piece) - len(left)
            while len(left):  # a frame is as long as its format or its damage makes it
                taken = left[: length - filled]
                block[filled : filled + len(taken)] = taken
                filled, left = filled + len(taken), left[len(taken) :]
                if filled == length:
                    yield block
                    block, filled = np.empty((length, self.channels), np.float32), 0
        if filled:
            yield block[:filled]
        if self._done == 0 and self._last_fault is not None:
            raise self._last_fault
        self.warnings.extend(self._told_of())

    def _pieces(self, most: int) -> Iterator[NDArray[np.float32]]:
        """Samples and silence in the order of time."""
        import av

        form: tuple[Any, ...] | None = None
        to_float: Any = None
        for frame, after in pairwise(chain(self._frames(), [None])):
            if form != (form := (frame.format.name, frame.layout.name, frame.sample_rate)):
                # Even where a broadcast changes its channels or rate on the way, all is in one format.
                yield from self._converted(to_float, None)
                to_float = av.AudioResampler(format="flt", layout=self._layout, rate=self.sample_rate)
            left = self._gap_before(frame, after) if self._is_timed and frame.pts is not None else 0
            while left > 0:
                yield np.zeros((min(left, most), self.channels), np.float32)
                left -= most
            for one in to_float.resample(frame):
                samples = one.to_ndarray().reshape(-1, self.channels)
                self._done += len(samples)
                yield samples
        yield from self._converted(to_float, None)

    def _converted(self, to_float: Any, frame: Any) -> Iterator[NDArray[np.float32]]:
        """A frame as samples; None stands for what the converter still holds."""
        for one in to_float.resample(frame) if to_float is not None else ():
            samples = one.to_ndarray().reshape(-1, self.channels)
            self._done += len(samples)
            yield samples

    def _gap_before(self, frame: Any, after: Any) -> int:
        """Samples of silence that come before a frame, by its time stamp and that of the next one."""
        rate = self.sample_rate
        lead: int = round((frame.time - self._origin) * rate) - self._done
        if abs(lead) <= GAP_SECONDS * rate:
            return 0
        if after is not None and after.pts is not None:
            end = self._done / rate + frame.samples / frame.sample_rate
            if abs(after.time - self._origin - end) <= GAP_SECONDS:
                return 0  # the next one fits as if this one did: its time stamp is damaged
        end = self._done + lead
        too_much = self._silence + lead > MOST_SILENCE * rate
        if lead < 0 or too_much or (self._told and end > (self._told + CUT_SECONDS) * rate):
            if lead > 0 and self._first_leap < 0:
                self._first_leap = self._done / rate
            self._origin += lead / rate  # as where recordings were joined
            return 0
        if self._first_gap < 0:
            self._first_gap, self._first_silence = self._done / rate, lead
        self._silence, self._done = self._silence + lead, end
        return lead

    def _frames(self) -> Iterator[Any]:
        """The frames that can be decoded."""
        seconds = {stream.index: float(stream.time_base or 0) for stream in self._container.streams}
        packets = self._container.demux()
        packet: Any = None
        while self._in_a_row < MOST_FAULTS:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if self._told and packet.pts is not None:
                    end = (packet.pts + (packet.duration or 0)) * seconds.get(packet.stream.index, 0)
                    self._reach = max(self._reach, end - self._start)
                frames = packet.decode() if packet.stream is self._stream else ()
            except EOFError:  # it was read to its end before
                return
            except errors() as error:
                packets = self._container.demux()  # goes on behind it
                if packet is not None and bytes(packet)[:3] in TAGS:
                    continue  # as between MP3s that were joined
                self._last_fault = error
                self._faults, self._in_a_row = self._faults + 1, self._in_a_row + 1
                if self._first_fault < 0:
                    self._first_fault = self._done / self.sample_rate
                continue
            for frame in frames:
                self._in_a_row = 0
                yield frame

    def _told_of(self) -> Iterator[str]:
        """Warnings: what was passed over, what is silence, and what is missing at the end."""
        rate = self.sample_rate
        silent = f"{self._silence / rate:.3f} s from {self._first_gap:.3f} s on are silence"
        if passed_over := self._faults - self._in_a_row:
            packets = "1 packet" if passed_over == 1 else f"{passed_over:,} packets"
            found = f"damaged: {packets} from {self._first_fault:.3f} s on cannot be decoded"
            yield f"{found}; {silent if self._silence else 'what is lost is left out'}"
        elif self._silence and self._silence == self._first_silence and self._first_gap == 0:
            yield f"its sound begins at {self._silence / rate:.3f} s; before that is silence"
        elif self._silence:
            yield f"gaps: nothing was recorded, or it is damaged: {silent}"
        if self._first_leap >= 0:
            yield f"its time stamps leap too far to be true at {self._first_leap:.3f} s: times may be wrong"
        end = self._done / rate
        if self._in_a_row and self._last_fault is not None:
            yield f"cut off: decoding fails after {end:.3f} s ({reason(self._last_fault)})"
        elif self._reach < self._told - CUT_SECONDS:
            yield f"cut off: it ends after {end:.3f} s, its header promises {self._told:.3f} s"
