"""The names of settings are the same wherever they are asked for."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import get_type_hints

import pytest

from ast_cli import Tagger
from ast_cli.settings import ModelSettings, TagOptions, TagSettings


def test_keyword_options_are_the_fields_of_the_settings() -> None:
    assert get_type_hints(TagOptions) == {
        name: hint for name, hint in get_type_hints(TagSettings).items() if not name.startswith("_")
    }


def test_from_pretrained_takes_the_settings_of_a_model() -> None:
    parameters = inspect.signature(Tagger.from_pretrained).parameters
    for one in fields(ModelSettings):
        name = "attn_implementation" if one.name == "attn" else one.name
        assert parameters[name].default == one.default


@pytest.mark.parametrize("method", ["tag", "tag_waveform", "tag_many", "tag_found", "embed", "open"])
def test_types_of_public_methods_can_be_asked_for(method: str) -> None:
    assert "settings" in get_type_hints(getattr(Tagger, method))
