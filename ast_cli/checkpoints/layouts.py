"""What tensors are called: by us, on the Hub, and in the original code's files; all in one table.

Also what the shapes in an original file tell of its network, since nothing else there does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from ast_cli.checkpoints.locate import CONFIG_FILE
from ast_cli.errors import CheckpointError
from ast_cli.scoring.labels import audioset_classes, speech_commands_names

# One row a tensor: our name, the Hub's, the original code's. Where the Hub has three for one of ours, QKV
# stands for query, key and value: stacked in this order they are the original's and our fused projection.
NAMES = {
    ours: (hub, original)
    for ours, hub, original in map(
        str.split,
        """
        embeddings.cls_token             embeddings.cls_token                       v.cls_token
        embeddings.distillation_token    embeddings.distillation_token              v.dist_token
        embeddings.position_embeddings   embeddings.position_embeddings             v.pos_embed
        embeddings.patch_embeddings.projection.* embeddings.patch_embeddings.projection.* v.patch_embed.proj.*
        layers.N.layernorm_before.*      encoder.layer.N.layernorm_before.*         v.blocks.N.norm1.*
        layers.N.attention.qkv.*         encoder.layer.N.attention.attention.QKV.*  v.blocks.N.attn.qkv.*
        layers.N.attention.output.*      encoder.layer.N.attention.output.dense.*   v.blocks.N.attn.proj.*
        layers.N.layernorm_after.*       encoder.layer.N.layernorm_after.*          v.blocks.N.norm2.*
        layers.N.mlp.fc1.*               encoder.layer.N.intermediate.dense.*       v.blocks.N.mlp.fc1.*
        layers.N.mlp.fc2.*               encoder.layer.N.output.dense.*             v.blocks.N.mlp.fc2.*
        layernorm.*                      layernorm.*                                v.norm.*
        classifier.layernorm.*           classifier.layernorm.*                     mlp_head.0.*
        classifier.dense.*               classifier.dense.*                         mlp_head.1.*
        """.strip().splitlines(),
    )
}
HUB_PREFIX = "audio_spectrogram_transformer."
POSITION_EMBEDDINGS = "embeddings.position_embeddings"

# The original's files name neither stride nor length: the number of patches tells them apart.
ORIGINAL_GEOMETRIES = tuple((stride, frames) for frames in (1024, 512, 128) for stride in (10, 12, 14, 16))
# Mean and std of the log-mel features, by length of the window: AudioSet, ESC-50, Speech Commands.
AUDIOSET_NORMALISATION = (-4.2677393, 4.5689974)
ORIGINAL_NORMALISATION = {
    1024: AUDIOSET_NORMALISATION,
    512: (-6.6268077, 5.358466),
    128: (-6.845978, 5.5654526),
}


def their_names(ours: Iterable[str], *, original: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each of our names with the one or three that the other layout has for it."""
    for name in ours:
        layer = re.search(r"\.(\d+)\.", name)
        kind = re.search(r"\.(weight|bias)$", name)
        row = re.sub(r"\.\d+\.", ".N.", re.sub(r"\.(weight|bias)$", ".*", name))
        their = NAMES[row][original].replace(".N.", f".{layer[1]}." if layer else "")
        their = their.replace("*", kind[1] if kind else "")
        parts = ("query", "key", "value") if "QKV" in their else ("",)
        yield name, tuple(their.replace("QKV", part) for part in parts)


def infer_config(source: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the shapes in an original `.pth` tell of the configuration."""
    try:
        width, _, patch_size, _ = tensors["v.patch_embed.proj.weight"].shape
        patches = tensors["v.pos_embed"].shape[1] - 2
        intermediate = tensors["v.blocks.0.mlp.fc1.weight"].shape[0]
        labels = tensors["mlp_head.1.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError(f"{source} lacks {error}", "It is not a whole AST checkpoint") from error
    except (ValueError, IndexError) as error:
        raise CheckpointError(
            f"{source} has tensors of another shape than an AST's", "It is another network"
        ) from error
    mel_bins = 128
    geometries = [
        (stride, frames)
        for stride, frames in ORIGINAL_GEOMETRIES
        if ((mel_bins - patch_size) // stride + 1) * ((frames - patch_size) // stride + 1) == patches
    ]
    if len(geometries) != 1:
        raise CheckpointError(
            f"{source} has {patches} patches, which fits no published stride and length",
            f"Put a {CONFIG_FILE} beside it that says frequency_stride, time_stride and max_length",
        )
    [(stride, frames)] = geometries
    if labels == len(audioset_classes()):
        names = [node.name for node in audioset_classes()]
    elif labels == len(speech_commands_names()):
        names = list(speech_commands_names())
    else:
        names = [f"LABEL_{index}" for index in range(labels)]
    return {
        "hidden_size": width,
        "num_hidden_layers": len({name.split(".")[2] for name in tensors if name.startswith("v.blocks.")}),
        "num_attention_heads": width // 64,  # in every size of the original
        "intermediate_size": intermediate,
        # Of the blocks. The original's head has 1e-5, which moves a logit by less than 1e-4.
        "layer_norm_eps": 1e-6,
        "patch_size": patch_size,
        "qkv_bias": "v.blocks.0.attn.qkv.bias" in tensors,
        "frequency_stride": stride,
        "time_stride": stride,
        "max_length": frames,
        "num_mel_bins": mel_bins,
        "id2label": {str(index): name for index, name in enumerate(names)},
    }
