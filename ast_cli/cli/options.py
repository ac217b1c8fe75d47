"""Options that several commands share, each declared once, in groups of those that go together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ast_cli.checkpoints.locate import find_checkpoint
from ast_cli.checkpoints.published import BUILT_IN_MODELS, DEFAULT_MODEL, PUBLISHED_MODELS
from ast_cli.cli.option_groups import argument, option, option_group
from ast_cli.cli.process import quiet_libraries
from ast_cli.cli.screen import TagScreen
from ast_cli.errors import UsageError
from ast_cli.files import STDOUT
from ast_cli.names import parse_name
from ast_cli.outputs import FORMATS, choose_format
from ast_cli.settings import (
    Attention,
    Dtype,
    EngineName,
    ModelSettings,
    Scores,
    Short,
    TagSettings,
    TorchDtype,
)

if TYPE_CHECKING:
    from ast_cli.outputs.writer import Writer
    from ast_cli.tagger import Tagger

HEARD = "What is heard"
OUTPUT = "Output"
LABELLED = "The labelled recordings"
MODEL = "Model"
RUN = "Where and how it runs"
CLUSTER = "On a cluster"
MESSAGES = "Messages"

DEFAULTS = TagSettings()


def completing(choices: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What an option's `autocompletion` takes: the values that begin as what was typed."""

    def complete(incomplete: str) -> list[str]:
        return [one for one in choices() if one.startswith(incomplete)]

    return complete


def _names_of_formats() -> Iterable[str]:
    from ast_cli.outputs import FORMATS

    return FORMATS


complete_model = completing(lambda: [one.id for one in (*BUILT_IN_MODELS, *PUBLISHED_MODELS)])


# What goes in


@option_group(HEARD)
class InputOptions:
    """Which recordings."""

    paths: list[str] = argument(
        [],
        "Audio files; folders, walked recursively; tar and Parquet shards; addresses of these, as "
        "s3://bucket/folder/ or https://…; - is one audio file on stdin.",
        metavar="PATH",
        show_default=False,
    )
    files_from: str | None = option(
        None, "A list of paths and addresses, one a line; - is stdin.", metavar="FILE", show_default=False
    )
    null: bool = option(False, "The list is NUL-separated (`find -print0`).", "-0")


@option_group(HEARD)
class WindowOptions:
    """How recordings become windows."""

    channel: str = option("mix", "mix (the mean) or a channel number from 1.", metavar="mix|N")
    window: float | None = option(
        DEFAULTS.window, "Length of a window.", metavar="SECONDS", show_default="the model's length"
    )
    hop: float | None = option(
        DEFAULTS.hop, "From one window to the next.", metavar="SECONDS", show_default="the window's length"
    )
    short: Short = option(
        DEFAULTS.short,
        "Windows shorter than the model's: pad them as in training, repeat them, or crop the model, "
        "which then is as much faster.",
    )

    @property
    def channel_number(self) -> int | None:
        """What --channel says; None for the mean of all."""
        if self.channel == "mix":
            return None
        if not re.fullmatch("[1-9][0-9]{0,8}", self.channel):
            raise UsageError(f"no such channel: {self.channel}", "--channel takes mix or a number from 1")
        return int(self.channel)

    @property
    def settings(self) -> TagSettings:
        """With the defaults of all that is of labels."""
        return TagSettings(channel=self.channel_number, window=self.window, hop=self.hop, short=self.short)


# What comes out


OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace --out if it is there already.")
]


def _formats(*, of_events: bool) -> str:
    return ", ".join(name for name, writer in FORMATS.items() if writer.of_events is of_events)


@option_group(OUTPUT)
class OutputOptions:
    """Where results go, and as what."""

    out: str = option(
        STDOUT,
        "A file; or a folder, ending in /, for a file per recording; - is stdout.",
        "-o",
        metavar="FILE|DIR/",
    )
    format_: str | None = option(
        None,
        f"{_formats(of_events=False)}; of events: {_formats(of_events=True)}.",
        "-f",
        metavar="FORMAT",
        autocompletion=completing(_names_of_formats),
        show_default="by the suffix of --out, else table",
    )

    @property
    def to_folder(self) -> bool:
        """Whether there is a file for each recording."""
        from ast_cli.outputs.destination import is_folder

        return self.out != STDOUT and is_folder(self.out)

    def format_and_writer(self) -> tuple[str, type[Writer]]:
        """The name of the format, and what writes it.

        Raises:
            UsageError: There is no such format, or none of the name of --out.
        """
        out = self.out
        if not out:
            raise UsageError("--out is empty", "Name a file or a folder; - is stdout")
        if parse_name(out).is_address:
            raise UsageError(
                f"--out {parse_name(out).shown} is an address, where only `ast-tag tag --ray` writes",
                "Name a file or a folder here, or add --ray local",
            )
        if self.format_ is None and self.to_folder:
            raise UsageError(f"{out} is a folder, whose name tells no format", "Say --format")
        format_ = choose_format(self.format_, out)
        return format_, FORMATS[format_]

    def refuse_single(self, format_: str, writer: type[Writer]) -> None:
        """Raise UsageError unless the results of several recordings can be written."""
        if not writer.holds_many and not self.to_folder:
            raise UsageError(
                f"{format_} holds one recording a file", "Name a folder for the files: --out labels/"
            )


# The model, and where it runs


ONE_MODEL = typer.Option(
    "--model",
    "-m",
    metavar="NAME",
    rich_help_panel=MODEL,
    help="Hub id, folder, weights file, or the built-in tiny.",
    autocompletion=complete_model,
)
RevisionOption = Annotated[
    str | None,
    typer.Option(
        metavar="REV",
        rich_help_panel=MODEL,
        help="Hub branch, tag or commit.",
        show_default="the default branch",
    ),
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", rich_help_panel=MODEL, help="Never touch the network.")
]


@option_group(MODEL)
class OneModelOptions:
    """Which checkpoint."""

    model: Annotated[str, ONE_MODEL] = DEFAULT_MODEL
    revision: RevisionOption = None
    offline: OfflineOption = False


@option_group(MODEL)
class ModelOptions:
    """Which checkpoints."""

    model: list[str] = option(
        [DEFAULT_MODEL],
        "Hub id, folder, .safetensors, .pth or .bin. Given several times, the scores are averaged.",
        "-m",
        metavar="NAME",
        autocompletion=complete_model,
        show_default=DEFAULT_MODEL,
    )
    revision: RevisionOption = None
    offline: OfflineOption = False


def batch_size_of(text: str) -> int | None:
    """What --batch-size says; None for auto."""
    if text == "auto":
        return None
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise UsageError(f"--batch-size {text} is neither auto nor a number from 1", "Leave it out for auto")
    return int(text)


DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        rich_help_panel=RUN,
        help="auto, cpu, cuda, cuda:N or mps.",
        autocompletion=completing(lambda: ("auto", "cpu", "cuda", "mps")),
    ),
]


@option_group(RUN)
class EngineOptions:
    """Where and how the network runs."""

    batch_size: int | None = option(
        None,
        "Windows per forward pass; auto is 8 or one a core, or what a long run on CUDA does best with.",
        "-b",
        metavar="auto|N",
        parser=batch_size_of,
        show_default="auto",
    )
    device: DeviceOption = "auto"
    dtype: Dtype = option(
        "auto", "Number format of the network; auto is float32, on CUDA float16. int8 is for openvino."
    )
    attn: Attention = option(
        "auto",
        "Attention: auto, heads, sdpa, eager; flash, efficient, cudnn or math. auto is the fastest on this "
        "processor: heads, one at a time, or sdpa, for which torch chooses among the last four.",
        metavar="NAME",
    )
    engine: EngineName = option(
        "torch", "What runs the network; openvino is for the CPU and comes with the extra of this name."
    )
    compile_: bool = option(False, "Let torch compile the network first; for long runs on CUDA.")
    workers: int | None = option(
        None, "Recordings decoded at once.", min=1, show_default="one a core, at most 16"
    )

    def settings(self, model: ModelOptions | OneModelOptions, scores: Scores = "auto") -> ModelSettings:
        """How the model is opened."""
        return ModelSettings(
            model.revision,
            self.device,
            self.dtype,
            self.attn,
            self.engine,
            self.compile_,
            scores,
            model.offline,
        )


@option_group(RUN)
class TorchEngineOptions(EngineOptions):
    """Where and how the network runs, if only torch can run it."""

    dtype: TorchDtype = option("auto", "Number format of the network; auto is float32, on CUDA float16.")


def open_tagger(models: str | list[str], settings: ModelSettings, screen: TagScreen) -> Tagger:
    """Open what --model names; that it is not there is said before torch is loaded, which takes seconds."""
    names = [models] if isinstance(models, str) else models
    for name in names:
        find_checkpoint(name, settings.revision, offline=settings.offline)
    from ast_cli.tagger import Tagger

    tagger = Tagger.open(names, settings, screen.warn)
    screen.note(tagger.description)
    return tagger


# Labelled recordings


LABELLED_DATA = (
    "CSV with the header file,labels; AudioSet's segment CSV; the original AST's JSON; the folder of ESC-50 "
    "or Speech Commands; or a folder for each class."
)


@option_group(LABELLED)
class LabelledOptions:
    """Where labelled recordings are, and what their labels mean."""

    audio: Path | None = option(
        None, "Where the recordings are.", metavar="DIR", show_default="beside the table"
    )
    classes: Path | None = option(
        None,
        "What the labels stand for: CSV with index, mid, display_name.",
        metavar="FILE",
        show_default="AudioSet's classes",
    )


# Messages


@option_group(MESSAGES)
class MessageOptions:
    """What is said on stderr."""

    quiet: bool = option(False, "Only failures on stderr.", "-q")
    verbose: bool = option(False, "Say what runs where.", "-v")

    def screen(self, done: str = "tagged") -> TagScreen:
        """Where messages go; see `TagScreen`."""
        if self.quiet:
            quiet_libraries()
        return TagScreen(quiet=self.quiet, verbose=self.verbose, done=done)
