"""What may be asked for, and the command line that says it."""

from __future__ import annotations

import pytest
import torch

from ast_cli.bench.network import attentions
from ast_cli.bench.request import Request, batch_sizes_of
from ast_cli.errors import UsageError
from ast_cli.networks.processor import fastest_attention

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("8", (8,)), ("1,2,4", (1, 2, 4)), ("4,1,4", (1, 4)), (" 2, 16 ", (2, 16)), ("00004096", (4096,))],
)
def test_batch_sizes(text: str, sizes: tuple[int, ...]) -> None:
    assert batch_sizes_of(text) == sizes


@pytest.mark.parametrize(
    "text", ["", "0", "1,", "-1", "1.5", "two", "1;2", "4097", "0000040960", "9" * 5000, "²", "٣"]
)
def test_what_is_no_list_of_them_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="is no number from 1 to 4,096"):
        batch_sizes_of(text)


def test_a_folder_is_timed_with_one_size() -> None:
    assert Request().batch_sizes == (1, 2, 4, 8)
    assert Request(folder="clips").batch_sizes == (8,)
    assert Request(folder="clips", batch_sizes=(1, 2)).batch_sizes == (1, 2)


def test_the_command_says_every_default() -> None:
    assert " ".join(Request(model="tiny").command) == (
        "ast-tag bench --model tiny --batch-size 1,2,4,8 --dtype auto --device auto "
        "--engine torch --repeats 5"
    )
    asked = Request("tiny", "main", True, ("eager", "sdpa"), (2,), compile=True, folder="clips")
    assert " ".join(asked.command) == (
        "ast-tag bench clips --model tiny --revision main --batch-size 2 --dtype auto --device auto "
        "--engine torch --repeats 5 --attn eager --attn sdpa --compile --offline"
    )


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"attn": ("eagre",)}])
def test_a_slip_is_told_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Request(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "device", "ways"),
    [
        (Request(), CPU, ("eager", "sdpa", "heads")),
        (Request(), CUDA, ("eager", "sdpa")),
        (Request(compile=True), CPU, ("eager", "sdpa")),
        (Request(attn=("math", "eager", "math")), CPU, ("math", "eager")),
        (Request(attn=("auto", fastest_attention())), CPU, (fastest_attention(),)),
        (Request(attn=("auto",)), CUDA, ("sdpa",)),
        (Request(attn=("auto",), compile=True), CPU, ("sdpa",)),
        (Request(engine="openvino", attn=("eager", "sdpa")), CPU, ("auto",)),
    ],
)
def test_the_ways_that_are_timed(request_: Request, device: torch.device, ways: tuple[str, ...]) -> None:
    assert attentions(request_, device) == ways
