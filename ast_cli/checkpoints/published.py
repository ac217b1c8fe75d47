"""The checkpoints that have a name of their own: those published (arXiv 2104.01778), and the built-in one."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MODEL = "MIT/ast-finetuned-audioset-10-10-0.4593"


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A checkpoint that is known by name.

    Attributes:
        id: On the Hub, or the built-in name.
        stride: Of the patches, in frequency and time.
        patches: Number of patches in a window.
        frames: Length of a window, T.
        labels: Number of classes.
        metric: `mAP` on AudioSet's evaluation set, or `accuracy` on Speech Commands' test set; of the
            built-in one, `mAP` on synthetic sounds, which says nothing about the world.
        figure: What the authors publish; of the built-in one, what its card says.
        sample_logits: The first three logits published for `verify`'s sample clip; empty where none are.
    """

    id: str
    stride: int
    patches: int
    frames: int
    labels: int
    metric: str
    figure: float
    sample_logits: tuple[float, ...] = ()


def _audioset(
    name: str, stride: int, patches: int, figure: float, sample_logits: tuple[float, ...]
) -> PublishedModel:
    id_ = f"MIT/ast-finetuned-audioset-{name}"
    return PublishedModel(id_, stride, patches, 1024, 527, "mAP", figure, sample_logits)


PUBLISHED_MODELS = (
    _audioset("10-10-0.4593", 10, 1212, 0.459, (-0.8760, -7.0042, -8.6602)),
    _audioset("10-10-0.450", 10, 1212, 0.449, (-1.1986, -7.0903, -8.2718)),
    _audioset("10-10-0.448", 10, 1212, 0.448, (-2.6128, -8.0080, -9.4344)),
    _audioset("10-10-0.448-v2", 10, 1212, 0.447, (-1.5080, -7.4534, -8.8917)),
    _audioset("12-12-0.447", 12, 850, 0.447, (-0.5050, -6.5833, -8.0843)),
    _audioset("14-14-0.443", 14, 657, 0.443, (-0.3826, -7.0336, -8.2413)),
    _audioset("16-16-0.442", 16, 512, 0.442, (-1.2113, -6.9101, -8.3470)),
    PublishedModel("MIT/ast-finetuned-speech-commands-v2", 10, 144, 128, 35, "accuracy", 0.981),
)
BUILT_IN_MODELS = (PublishedModel("tiny", 16, 512, 1024, 127, "synthetic mAP", 0.738),)
BUILT_IN_IDS = tuple(model.id for model in BUILT_IN_MODELS)
PUBLISHED_IDS = tuple(model.id for model in PUBLISHED_MODELS)
