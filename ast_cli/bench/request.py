"""What is to be timed, as a user says it. Knows no torch, so that a slip is told at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.errors import UsageError
from ast_cli.settings import DEFAULT_BATCH_SIZE, Attention, Dtype, EngineName, ModelSettings, require_choice

BATCH_SIZES = (1, 2, 4, 8)
REPEATS = 5
MOST_WINDOWS = 4096  # in a batch
TRANSFORMERS = "transformers"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be timed."""

    model: str = DEFAULT_MODEL  # what `--model` takes
    revision: str | None = None  # Hub branch, tag or commit; the default branch if None
    offline: bool = False  # whether the network may not be touched
    attn: tuple[str, ...] = ()  # of `settings.Attention`; the ways that matter on the device if empty
    batch_sizes: tuple[int, ...] = ()  # one run each; if empty, `BATCH_SIZES`, or the default on a folder
    dtype: Dtype = "auto"
    device: str = "auto"  # `auto`, `cpu`, `cuda`, `cuda:N` or `mps`
    engine: EngineName = "torch"
    compile: bool = False  # whether torch compiles the network
    peer: str | None = None  # `transformers` to time that too
    repeats: int = REPEATS  # how often everything is timed
    folder: str | None = None  # whose recordings the whole flow is timed on; if None, network and stages

    def __post_init__(self) -> None:
        if not self.batch_sizes:
            default = BATCH_SIZES if self.folder is None else (DEFAULT_BATCH_SIZE,)
            object.__setattr__(self, "batch_sizes", default)
        for name in self.attn:
            require_choice("attention", name, get_args(Attention))
        if self.repeats < 1:
            raise UsageError(f"repeats must be at least 1, not {self.repeats}")

    def settings(self, attn: Attention = "auto") -> ModelSettings:
        """How networks are opened, with one attention."""
        how = (self.revision, self.device, self.dtype, attn, self.engine, self.compile)
        return ModelSettings(*how, offline=self.offline)

    @property
    def command(self) -> list[str]:
        """The command line that asks for this, with every default written out."""
        words = ["ast-tag", "bench", *([] if self.folder is None else [self.folder])]
        for option, value in (
            ("model", self.model),
            ("revision", self.revision),
            ("batch-size", ",".join(map(str, self.batch_sizes))),
            ("dtype", self.dtype),
            ("device", self.device),
            ("engine", self.engine),
            ("peer", self.peer),
            ("repeats", self.repeats),
            *(("attn", name) for name in self.attn),
        ):
            words += [] if value is None else [f"--{option}", str(value)]
        return words + [f"--{flag}" for flag in ("compile", "offline") if getattr(self, flag)]


def batch_sizes_of(text: str) -> tuple[int, ...]:
    """What --batch-size says: `1,2,4` -> 1, 2 and 4, in rising order, each once.

    Raises:
        UsageError: It is no such list.
    """
    sizes = set()
    for word in text.split(","):
        number = word.strip().lstrip("0")
        if not (number.isascii() and number.isdigit() and int(number[:9]) <= MOST_WINDOWS):
            raise UsageError(
                f"--batch-size {text}: {word.strip()!r} is no number from 1 to {MOST_WINDOWS:,}",
                "Write 8, or several with commas: 1,2,4,8",
            )
        sizes.add(int(number))
    return tuple(sorted(sizes))
