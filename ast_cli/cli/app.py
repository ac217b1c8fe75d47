"""The Typer application: which commands there are, the default one, and the one place where errors end.

Nothing imported here may import torch: help and completion must be instant.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ast_cli.cli import (
    bench,
    clips,
    doctor,
    embed,
    evaluate,
    explain,
    export,
    finetune,
    labels,
    listen,
    models,
    report,
    search,
    stats,
    tag,
    verify,
)
from ast_cli.cli.process import prepare_process
from ast_cli.cli.screen import error_line
from ast_cli.cli.usage import TYPER_ERROR, said_as_ours
from ast_cli.cli.user import settle_user
from ast_cli.errors import AstCliError, ExitCode, InputError
from ast_cli.files import ReaderGoneError, abandon_stdout
from ast_cli.text import did_you_mean

DEFAULT_COMMAND = "tag"
ARGUMENTS, SLIP = "ast_cli.arguments", "ast_cli.slip"  # of the context's meta
CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": lambda token: token.replace("_", "-"),
}


class DefaultCommandGroup(TyperGroup):
    """A group whose first argument may be a path: then it is the default command's."""

    def parse_args(self, ctx: Any, args: Sequence[str]) -> list[str]:
        """Put the default command before arguments that name none; the group's own options stay."""
        args = list(args)
        own = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        if args and args[0] not in self.commands and args[0] not in own:
            ctx.meta[SLIP] = args[0] if args[0].isalpha() else ""
            args.insert(0, DEFAULT_COMMAND)
        ctx.meta[ARGUMENTS] = list(args)
        return list(super().parse_args(ctx, args))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; its help shows no type beside a flag, which takes no value."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            for option in [*command.params, command.get_help_option(ctx)]:
                if getattr(option, "is_flag", False) and option is not None and option.metavar is None:
                    option.metavar = ""
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command inside the error boundary."""
        with error_boundary():
            word = ctx.meta.get(SLIP, "")
            if word and not os.path.lexists(word) and (hint := did_you_mean(word, [*self.commands], limit=1)):
                raise InputError(
                    "not-found", f"no such file: {word}", hint.replace("mean", "mean the command")
                )
            try:
                return super().invoke(ctx)
            except TYPER_ERROR as error:
                raise said_as_ours(error, ctx, ctx.meta[ARGUMENTS]) from None


app = typer.Typer(
    name="ast-tag",
    cls=DefaultCommandGroup,
    context_settings=CONTEXT,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        from ast_cli import __version__

        def installed(package: str) -> str:
            try:
                return f"{package} {version(package)}"
            except PackageNotFoundError:
                return f"{package} not installed"

        typer.echo(f"ast-tag {__version__} ({installed('torch')}, {installed('torchaudio')})")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the versions and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Say what is heard in any recording, with the Audio Spectrogram Transformer.

    [bold]ast-tag PATH...[/bold] is the same as [bold]ast-tag tag PATH...[/bold]: see `ast-tag tag --help`.
    A file that is called like a command is ./NAME.
    """


app.command("tag", no_args_is_help=True)(tag.tag)
app.command("listen")(listen.listen)
app.command("export", no_args_is_help=True)(export.export)
app.command("clips", no_args_is_help=True)(clips.clips)
app.command("report", no_args_is_help=True)(report.report)
app.command("embed", no_args_is_help=True)(embed.embed)
app.command("search", no_args_is_help=True)(search.search)
app.command("explain", no_args_is_help=True)(explain.explain)
app.command("labels")(labels.labels)
app.add_typer(models.app, name="models")
app.command("doctor")(doctor.doctor)
app.command("verify")(verify.verify)
app.command("bench")(bench.bench)
app.command("stats", no_args_is_help=True)(stats.stats)
app.command("finetune", no_args_is_help=True)(finetune.finetune)
app.command("eval", no_args_is_help=True)(evaluate.evaluate)


@contextmanager
def error_boundary() -> Iterator[None]:
    """Turn what goes wrong into one line on stderr and an exit code."""
    try:
        yield
    except AstCliError as error:
        error_line(str(error))
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        error_line("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except ReaderGoneError:
        raise typer.Exit(ExitCode.OK) from None
    except BrokenPipeError as error:  # which Typer would take for that of standard output
        error_line(f"a process or a connection has ended before its time: {error}. Try again")
        raise typer.Exit(ExitCode.CANNOT_RUN) from None


def main() -> None:
    """The entry point of `ast-tag`."""
    settle_user()
    prepare_process()
    try:
        app()
    except KeyboardInterrupt:  # before or after the command itself
        sys.exit(ExitCode.INTERRUPTED)
    except OSError as error:  # of the help and the version, which come before any command
        if error.filename is not None or error.errno is None:
            raise  # not of writing
        abandon_stdout()
        error_line(f"cannot write to standard output: {error.strerror}")
        sys.exit(ExitCode.CANNOT_RUN)
