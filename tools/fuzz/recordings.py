"""Good recordings in every container there is, a second long or so: what `damage` starts from."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

# Container, number format, rate, channels
SOUNDFILE = """
    WAV PCM_U8 8000 1 · WAV PCM_16 16000 1 · WAV PCM_24 44100 2 · WAV PCM_32 48000 2 · WAV FLOAT 16000 2
    WAV DOUBLE 16000 1 · WAV IMA_ADPCM 22050 2 · WAV MS_ADPCM 16000 1 · WAV ULAW 8000 1 · WAV GSM610 8000 1
    WAVEX PCM_16 44100 6 · W64 PCM_16 44100 2 · W64 FLOAT 16000 1
    RF64 PCM_16 48000 2 · RF64 PCM_24 16000 1 · FLAC PCM_16 44100 2 · FLAC PCM_24 16000 1 · FLAC PCM_S8 8000 1
    OGG VORBIS 44100 2 · OGG VORBIS 16000 1 · OGG OPUS 48000 2 · OGG OPUS 16000 1
    MP3 MPEG_LAYER_III 44100 2 · MP3 MPEG_LAYER_III 16000 1 · AIFF PCM_16 44100 2 · AIFF FLOAT 16000 1
    AIFF IMA_ADPCM 16000 1 · AU PCM_16 16000 1 · AU ULAW 8000 1 · AU FLOAT 44100 2 · CAF PCM_16 44100 2
    CAF ALAC_16 44100 2 · CAF ALAC_24 16000 1 · NIST PCM_16 16000 1 · VOC PCM_16 16000 1 · SVX PCM_16 16000 1
    PAF PCM_16 16000 2 · IRCAM PCM_16 16000 1 · HTK PCM_16 16000 1 · AVR PCM_16 16000 2 · XI DPCM_16 44100 1
    MPC2K PCM_16 16000 2 · MAT4 DOUBLE 16000 1 · MAT5 PCM_16 16000 2 · PVF PCM_16 16000 1
    SDS PCM_16 16000 1 · WVE ALAW 8000 1
"""
# Container as FFmpeg calls it, codec, rate, channels
FFMPEG = """
    ipod aac 44100 2 · ipod alac 16000 1 · mp4 aac 48000 1 · mp4 flac 16000 1 · mov pcm_s16le 44100 2
    3gp aac 16000 1 · webm libopus 48000 2 · webm vorbis 44100 2 · matroska flac 44100 2
    matroska pcm_s16le 16000 1 · matroska aac 44100 2 · asf wmav2 44100 2 · asf wmav1 16000 1
    adts aac 16000 1 · mpegts mp2 48000 2 · mpegts aac 44100 2 · mpeg mp2 44100 2 · avi mp2 44100 2
    avi pcm_s16le 16000 1
    flv aac 44100 2 · wv wavpack 44100 2 · tta tta 44100 2 · ac3 ac3 48000 2 · eac3 eac3 48000 2
    oga flac 44100 2 · spdif ac3 48000 2 · aiff pcm_s16be 16000 1 · mp2 mp2 32000 1 · wav adpcm_ms 16000 2
    latm aac 44100 2 · rm ac3 44100 2 · nut pcm_s16le 16000 1
    w64 pcm_s16le 16000 1
"""


@dataclass(frozen=True)
class Good:
    """A recording that nothing is wrong with."""

    name: str
    suffix: str
    data: bytes
    rate: int
    channels: int
    samples: int


def sound(rate: int, channels: int, samples: int) -> NDArray[np.float32]:
    """[S, channels]: a tone that rises over a little noise, so that no window is like another."""
    generator = np.random.default_rng(rate * channels + samples)
    time = np.arange(samples)[:, None] / rate
    tone = np.sin(2 * np.pi * (300 + 200 * np.arange(channels) + 400 * time) * time)
    return (0.3 * tone + 0.03 * generator.standard_normal((samples, channels))).astype(np.float32)


def good_recordings() -> Iterator[Good]:
    """All that can be written here, in the order of the tables."""
    for number, line in enumerate(_lines(SOUNDFILE)):
        form, subtype, rate, channels = line.split()
        # Some shorter than a window of 1.28 s, some longer.
        good = _by_soundfile(form, subtype, int(rate), int(channels), 0.4 + 0.5 * (number % 4))
        if good is not None:
            yield good
    for number, line in enumerate(_lines(FFMPEG)):
        container, codec, rate, channels = line.split()
        good = _by_ffmpeg(container, codec, int(rate), int(channels), 0.4 + 0.5 * (number % 4))
        if good is not None:
            yield good
    yield from _mp3_without_length()


def _lines(table: str) -> list[str]:
    return [one.strip() for line in table.strip().splitlines() for one in line.split(" · ")]


def _by_soundfile(form: str, subtype: str, rate: int, channels: int, seconds: float) -> Good | None:
    samples = round(rate * seconds)
    file = io.BytesIO()
    try:
        soundfile.write(file, sound(rate, channels, samples), rate, format=form, subtype=subtype)
    except (soundfile.LibsndfileError, ValueError):
        return None
    return Good(f"{form}-{subtype}", form.lower(), file.getvalue(), rate, channels, samples)


def _by_ffmpeg(container: str, codec: str, rate: int, channels: int, seconds: float) -> Good | None:
    samples = round(rate * seconds)
    file = io.BytesIO()
    try:
        # Without it, some containers hold a random number or the time of day.
        with av.open(file, "w", format=container, options={"fflags": "bitexact"}) as out:
            stream = out.add_stream(codec, rate=rate, options={"strict": "-2"})
            stream.layout = layout = "mono" if channels == 1 else "stereo"
            stream.bit_rate = 128_000
            planes = np.ascontiguousarray(sound(rate, channels, samples).T)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                out.mux(packet)
    except (av.FFmpegError, ValueError, OSError):
        return None
    return Good(f"{container}-{codec}", container, file.getvalue(), rate, channels, samples)


def _mp3_without_length() -> Iterator[Good]:
    file = io.BytesIO()
    samples = 44_100 * 2
    soundfile.write(file, sound(44_100, 1, samples), 44_100, format="MP3", bitrate_mode="VARIABLE")
    whole = file.getvalue()
    second = whole.index(whole[:2], 100)  # the frame after the one that tells the length
    yield Good("MP3-of-guessed-length", "mp3", whole[second:], 44_100, 1, samples)
