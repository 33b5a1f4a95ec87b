"Encoders that know nothing, but are saved and loaded as real ones are: two layers, random weights."
from pathlib import Path

import torch
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model, RobertaConfig, RobertaModel, RobertaTokenizer

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *LETTERS, *["Ġ" + letter for letter in LETTERS]]

def tiny_text_encoder(folder: Path, seed: int = 0, **changes) -> Path:
    "Save a RoBERTa, and a tokenizer of letters."
    sizes = SIZES | dict(intermediate_size=64, max_position_embeddings=300) | changes
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        RobertaModel(RobertaConfig(vocab_size=len(TOKENS), pad_token_id=1, **sizes)).save_pretrained(folder)
    RobertaTokenizer({token: row for row, token in enumerate(TOKENS)}, []).save_pretrained(folder)
    return folder

def tiny_image_encoder(folder: Path, seed: int = 0, side: int = 28, **changes) -> Path:
    "Save a DINOv2, and its processor, which cuts squares of so many pixels a side."
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        Dinov2Model(Dinov2Config(**SIZES | dict(image_size=side, patch_size=7) | changes)).save_pretrained(folder)
    cut = {"height": side, "width": side}
    BitImageProcessorPil(size={"shortest_edge": round(side*8/7)}, crop_size=cut).save_pretrained(folder)
    return folder
