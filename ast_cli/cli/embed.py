"""`ast-tag embed`: recordings in, vectors out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ast_cli.checkpoints.published import DEFAULT_MODEL
from ast_cli.cli import options
from ast_cli.cli.inputs import counting, inputs_of
from ast_cli.cli.screen import TagScreen
from ast_cli.cli.tag import OUTPUT, channel_of
from ast_cli.errors import ExitCode, UsageError
from ast_cli.results import FileFailure
from ast_cli.settings import Per, Short, TagSettings

DEFAULTS = TagSettings()


def embed(
    paths: options.PathsArgument = None,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="A .npz or .parquet; or a .npy, with a .csv and a .npy.json of the same name beside it.",
        ),
    ] = ...,  # type: ignore[assignment]
    per: Annotated[
        Per,
        typer.Option(
            rich_help_panel=OUTPUT,
            help="A vector for each file, the mean of its windows, weighed by the seconds each newly covers; "
            "or for each window.",
        ),
    ] = "file",
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize/--no-normalize",
            rich_help_panel=OUTPUT,
            help="Give vectors length one, so that their products are cosines; or leave them as they are.",
        ),
    ] = True,
    overwrite: options.OverwriteOption = False,
    files_from: options.FilesFromOption = None,
    null: options.NullOption = False,
    channel: options.ChannelOption = "mix",
    window: options.WindowOption = DEFAULTS.window,
    hop: options.HopOption = DEFAULTS.hop,
    short: Annotated[
        Short,
        typer.Option(
            rich_help_panel=options.HEARD,
            help="Windows shorter than the model's: pad them as in training, repeat them, or crop the model.",
        ),
    ] = DEFAULTS.short,
    noise_masking: Annotated[
        float | None,
        typer.Option(
            "--noise-masking",
            metavar="DB",
            min=0,
            rich_help_panel=options.HEARD,
            help="Hide in each window what is quieter than a white noise so many dB below it: `search` then "
            "finds recordings by noisy copies; 10 is for an SNR of 10 dB and better.",
            show_default="none",
        ),
    ] = None,
    model: options.OneModelOption = DEFAULT_MODEL,
    revision: options.RevisionOption = None,
    offline: options.OfflineOption = False,
    batch_size: options.BatchSizeOption = None,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    attn: options.AttnOption = "auto",
    engine: options.EngineOption = "torch",
    workers: options.WorkersOption = None,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
) -> None:
    """Embed recordings: the vector of each from which the network tells what is heard.

    `ast-tag search` finds what is alike in them. The vectors of two models cannot be compared.
    """
    from ast_cli.outputs.embedding_file import open_embedding_file

    inputs = inputs_of(paths or [], files_from, null=null, what="embed", offline=offline)
    if engine != "torch":
        raise UsageError(f"{engine} gives scores only, no vectors", "Use --engine torch")
    how: dict[str, Any] = {"channel": channel_of(channel), "window": window, "hop": hop, "short": short}
    how["noise_masking"] = noise_masking
    screen = TagScreen(quiet=quiet, verbose=verbose, done="embedded")
    with open_embedding_file(out, overwrite=overwrite) as file, screen.closing_line():
        from ast_cli.tagger import Tagger

        tagger = Tagger.from_pretrained(
            model,
            revision,
            device=device,
            dtype=dtype,
            attn_implementation=attn,
            offline=offline,
            on_notice=screen.warn,
        )
        screen.note(tagger.description)
        leave_out = [out]
        outcomes = tagger.embed(
            inputs,
            per=per,
            normalize=normalize,
            batch_size=batch_size,
            workers=workers,
            on_heard=screen.heard,
            leave_out=leave_out,
            **how,
        )
        run = tagger.run_info(per=per, normalize=normalize, batch_size=batch_size or "auto", **how)
        file.begin(run, tagger.engines[0].config.hidden_size)
        with screen.progress(counting(paths or [], files_from, leave_out), "embedding"):
            for outcome in outcomes:
                if not isinstance(outcome, FileFailure):
                    file.add(outcome.file, outcome.starts, outcome.ends, outcome.vectors)
                screen.outcome(outcome)
        file.complete()
    if screen.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
