"""Packages that only some commands need: which extra brings them, and a remedy where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from ast_cli.errors import EngineError

# Extra -> module -> what pip installs for it; the tests compare with pyproject.toml.
EXTRAS = {
    "av": {"av": "av"},
    "openvino": {"openvino": "OpenVINO"},
    "parquet": {"pyarrow": "pyarrow"},
    "plot": {"matplotlib": "matplotlib"},
    "ray": {"ray": "Ray"},
    "remote": {"fsspec": "fsspec", "s3fs": "s3fs"},
    "report": {"jinja2": "jinja2", "markupsafe": "markupsafe", "matplotlib": "matplotlib", "PIL": "Pillow"},
    "train": {"accelerate": "accelerate", "sklearn": "scikit-learn", "matplotlib": "matplotlib"},
    "verify": {"transformers": "transformers", "torchaudio": "torchaudio"},
}


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'ast-cli[{extra}]'"


def require_extra(extra: str, *modules: str) -> None:
    """Check that the packages of an extra are installed, without importing them.

    Args:
        extra: A key of `EXTRAS`.
        *modules: Those of its modules that are needed; all of them if none is named.

    Raises:
        EngineError: One is not installed.
    """
    packages = EXTRAS[extra]
    missing = [packages[module] for module in modules or packages if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise EngineError(f"{' and '.join(missing)} {verb} not installed", install(extra))
