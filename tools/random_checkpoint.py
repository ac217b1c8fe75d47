"""Write a full AST with random weights: the whole way can be tried offline, but its labels mean nothing.

python tools/random_checkpoint.py FOLDER [--width 768] [--layers 12]
"""

from __future__ import annotations

import argparse

import torch

from ast_cli import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification
from ast_cli.scoring.labels import audioset_classes


def main() -> None:
    """Build the network, spread its weights so that classes differ, and save it in the Hub's layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    args = parser.parse_args()

    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=args.width,
        num_hidden_layers=args.layers,
        num_attention_heads=args.width // 64,
        intermediate_size=4 * args.width,
        id2label={index: node.name for index, node in enumerate(audioset_classes())},
    )
    model = ASTForAudioClassification(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.03 * torch.randn_like(weight))
        model.classifier.dense.bias.sub_(2.0)
    model.save_pretrained(args.folder)
    ASTFeatureExtractor().save_pretrained(args.folder)


if __name__ == "__main__":
    main()
