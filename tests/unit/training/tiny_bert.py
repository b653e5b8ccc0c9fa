"""A text encoder of the BERT family with random weights, small enough to teach in a moment."""

import torch
from transformers import BertConfig, BertModel


def tiny_bert() -> BertModel:
    """Two layers of width 16 over twelve tokens; the same weights each time."""
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.3,
    )
    return BertModel(shape).eval()
