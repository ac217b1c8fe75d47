"""The packages that our numbers are compared with: torchaudio and transformers, imported nowhere else.

torchaudio's last release is built for torch 2.11; with another torch its native library may not load.
"""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from typing import Any

from ast_cli.errors import EngineError
from ast_cli.extras import install, require_extra
from ast_cli.text import first_line

NOT_NEEDED = "Features are only compared with it"
_why_hidden: list[str] = []  # cause and remedy of a torchaudio that is there, but hidden from transformers


def load_torchaudio() -> Any:
    """The package torchaudio, with `compliance.kaldi` and `functional`.

    Raises:
        EngineError: It is not installed, or does not load, for whatever reason.
    """
    if sys.modules.get("torchaudio", sys) is None and _why_hidden:
        raise EngineError(*_why_hidden)
    if find_spec("torchaudio") is None:
        raise EngineError("torchaudio is not installed", f"{NOT_NEEDED}: {install('verify')}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is no longer developed
            import torchaudio
            import torchaudio.compliance.kaldi
    except Exception as error:
        raise EngineError(f"torchaudio does not load: {first_line(error)}", NOT_NEEDED) from error
    return torchaudio


def load_transformers() -> Any:
    """The package transformers, quiet: what fails, our errors say.

    It takes torchaudio for its features where that is installed, and numpy where not. So one that does not
    load is hidden from it.

    Raises:
        EngineError: It is not installed.
    """
    require_extra("verify", "transformers")
    try:
        load_torchaudio()
    except EngineError as error:
        _why_hidden[:] = [error.cause, error.remedy]
        sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]  # as if it were not installed
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
