"""The packages of the extra `train`: imported where they are used, and missed with a remedy."""

from __future__ import annotations

from importlib.util import find_spec

from ast_cli.errors import EngineError

PACKAGES = {"accelerate": "accelerate", "matplotlib": "matplotlib", "sklearn": "scikit-learn"}


def require_extra(*modules: str) -> None:
    """Check that modules of the extra `train` can be imported.

    Args:
        modules: Keys of `PACKAGES`.

    Raises:
        EngineError: One is not installed.
    """
    missing = [PACKAGES[module] for module in modules if find_spec(module) is None]
    if missing:
        raise EngineError(f"{' and '.join(missing)} not installed", "pip install 'ast-cli[train]'")
