"""Tag any recording with the Audio Spectrogram Transformer.

    from ast_cli import Tagger
    tagger = Tagger.from_pretrained("MIT/ast-finetuned-audioset-10-10-0.4593")
    for tag in tagger.tag("clip.wav", top_k=5).tags:
        print(tag.label, tag.score)

The public names are imported when first used, so that `import ast_cli` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a type checker does not follow `__getattr__`
    from ast_cli.errors import AstCliError as AstCliError
    from ast_cli.errors import InputError as InputError
    from ast_cli.features.extractor import ASTFeatureExtractor as ASTFeatureExtractor
    from ast_cli.live import Listener as Listener
    from ast_cli.networks.ast import ASTForAudioClassification as ASTForAudioClassification
    from ast_cli.networks.ast import ASTModel as ASTModel
    from ast_cli.networks.config import ASTConfig as ASTConfig
    from ast_cli.results import FileFailure as FileFailure
    from ast_cli.results import FileResult as FileResult
    from ast_cli.scoring.embedding import Embedding as Embedding
    from ast_cli.settings import EventSettings as EventSettings
    from ast_cli.settings import TagSettings as TagSettings
    from ast_cli.tagger import Tagger as Tagger

__version__ = "0.1.0"

_MODULES = {
    "ASTConfig": "networks.config",
    "ASTFeatureExtractor": "features.extractor",
    "ASTForAudioClassification": "networks.ast",
    "ASTModel": "networks.ast",
    "AstCliError": "errors",
    "Embedding": "scoring.embedding",
    "EventSettings": "settings",
    "FileFailure": "results",
    "FileResult": "results",
    "InputError": "errors",
    "Listener": "live",
    "TagSettings": "settings",
    "Tagger": "tagger",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"ast_cli.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'ast_cli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
