"""The packages that our numbers are compared with: torchaudio and transformers, imported nowhere else.

torchaudio's last release is built for torch 2.11; with another torch its native library may not load.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from ast_cli.errors import EngineError
from ast_cli.extras import install, require_extra
from ast_cli.text import first_line

NOT_NEEDED = "Features are only compared with it"
_why_hidden: list[str] = []  # cause and remedy of a torchaudio that is there, but hidden from transformers


def load_torchaudio() -> Any:
    """The package torchaudio, with `compliance.kaldi` and `functional`.

    One that does not load is hidden from then on: transformers takes torchaudio for its features where it is
    installed, and numpy where not.

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
        _why_hidden[:] = f"torchaudio does not load: {first_line(error)}", NOT_NEEDED
        sys.modules["torchaudio"] = None  # type: ignore[assignment]  # as if it were not installed
        raise EngineError(*_why_hidden) from error
    return torchaudio


def load_transformers() -> Any:
    """The package transformers, quiet: what fails, our errors say.

    Raises:
        EngineError: It is not installed.
    """
    require_extra("verify", "transformers")
    with suppress(EngineError):
        load_torchaudio()
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
