"""Tiny models, made at random and saved to disk, so that the Hugging Face path runs without a hub."""

from pathlib import Path

import pytest
import torch

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "red",
    "blue",
    "lip",
    "##stick",
    "shoe",
    "a",
    "b",
    "c",
    "passage",
]
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXTS = {"vocab_size": len(WORDS), "max_position_embeddings": 64}


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 2-layer BERT of width 32 with a vocabulary of a few words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    BertModel(BertConfig(**SIZES, **TEXTS)).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_mpnet(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """A 2-layer MPNet of width 32 with the vocabulary, and the tokenizer, of `tiny_bert`."""
    from transformers import BertTokenizerFast, MPNetConfig, MPNetModel

    folder = tmp_path_factory.mktemp("tiny-mpnet")
    torch.manual_seed(0)
    model = MPNetModel(MPNetConfig(**SIZES, **TEXTS))
    torch.nn.init.normal_(model.encoder.relative_attention_bias.weight)
    model.save_pretrained(folder)
    BertTokenizerFast(vocab=str(tiny_bert / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with a 16-dimensional shared space for pictures of 32 × 32."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("tiny-clip")
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=SIZES | {"vocab_size": 32},
        vision_config=SIZES | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    return folder
