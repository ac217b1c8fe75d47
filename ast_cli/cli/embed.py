"""`ast-tag embed`: recordings in, vectors out."""

from __future__ import annotations

from typing import Annotated

import typer

from ast_cli.cli import options
from ast_cli.cli.inputs import counting, inputs_of
from ast_cli.cli.option_groups import grouped, option, option_group, without
from ast_cli.errors import ExitCode
from ast_cli.results import FileFailure
from ast_cli.settings import Per, Short

MAKE_WINDOWS = ("channel", "window", "hop", "short")  # settings of which `search` embeds a query


@option_group(options.OUTPUT)
class EmbeddingOptions:
    """Where vectors go, and which."""

    out: str = option(
        ...,
        "A .npz or .parquet; or a .npy, with a .csv and a .npy.json of the same name beside it.",
        "-o",
        metavar="FILE",
    )
    per: Per = option(
        "file",
        "A vector for each file, the mean of its windows, weighed by the seconds each newly covers; "
        "or for each window.",
    )
    normalize: bool = option(
        True,
        "Give vectors length one, so that their products are cosines; or leave them as they are.",
        "--normalize/--no-normalize",
    )
    overwrite: options.OverwriteOption = False


@option_group(options.HEARD)
class EmbedWindowOptions(options.WindowOptions):
    """How recordings become windows, and what is hidden in these."""

    short: Short = option(
        options.DEFAULTS.short,
        "Windows shorter than the model's: pad them as in training, repeat them, or crop the model.",
    )
    noise_masking: float | None = option(
        None,
        "Hide in each window what is quieter than a white noise so many dB below it: `search` then "
        "finds recordings by noisy copies; 10 is for an SNR of 10 dB and better.",
        metavar="DB",
        min=0,
        show_default="none",
    )


@grouped
def embed(
    *,
    output: EmbeddingOptions,
    inputs: options.InputOptions,
    windows: EmbedWindowOptions,
    model: options.OneModelOptions,
    engine: Annotated[options.TorchEngineOptions, without("engine", "compile_")],  # torch alone has vectors
    messages: options.MessageOptions,
) -> None:
    """Embed recordings: the vector of each from which the network tells what is heard.

    `ast-tag search` finds what is alike in them. The vectors of two models cannot be compared.
    """
    from ast_cli.outputs.embedding_file import open_embedding_file

    names = inputs_of(inputs, "embed", offline=model.offline)
    settings = windows.settings
    screen = messages.screen("embedded")
    file_of = open_embedding_file(output.out, overwrite=output.overwrite)
    with file_of as file, screen.closing_line(whole=output.out):
        tagger = options.open_tagger(model.model, engine.settings(model), screen)
        outcomes = tagger.embed(
            names,
            per=output.per,
            normalize=output.normalize,
            noise_masking=windows.noise_masking,
            batch_size=engine.batch_size,
            workers=engine.workers,
            on_heard=screen.heard,
            leave_out=[output.out],
            passed_over=screen.passed_over,
            settings=settings,
        )
        run = tagger.run_info(
            per=output.per,
            normalize=output.normalize,
            batch_size=engine.batch_size or "auto",
            **{name: getattr(settings, name) for name in MAKE_WINDOWS},
            noise_masking=windows.noise_masking,
        )
        file.begin(run, tagger.engines[0].config.hidden_size)
        with screen.progress(counting(inputs.paths, inputs.files_from, [output.out]), "embedding"):
            for outcome in outcomes:
                if not isinstance(outcome, FileFailure):
                    file.add(outcome.file, outcome.starts, outcome.ends, outcome.vectors)
                screen.outcome(outcome)
        file.complete()
    if screen.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
