"""Folders that vLLM serves with random weights: a model's config and a tokenizer of made-up words.

``python -m fitcalc.calibrate.bench.stand_in llama-3.1-8b DIR`` writes config.json and a tokenizer
with one word a token, so that a benchmark's random prompts have the length they ask for. Serve it
with ``--load-format dummy``. Tokenizing it costs less than a real model's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from fitcalc.catalog.model import load_model
from fitcalc.catalog.tables import Toml, read_toml

UNKNOWN, END = "<unk>", "<end>"


def config(name: str) -> Toml:
    """Return the Hugging Face config that fitcalc has of a model."""
    table = read_toml("models_db", "models", f"{load_model(name).id}.toml")
    return cast("Toml", table["config"])


def tokenizer(vocab_size: int) -> Mapping[str, object]:
    """Return a tokenizer of ``vocab_size`` words, as the library ``tokenizers`` reads it.

    Examples:
        >>> tokenizer(4)["model"]["vocab"]
        {'<unk>': 0, '<end>': 1, 'w2': 2, 'w3': 3}
    """
    vocab = {UNKNOWN: 0, END: 1} | {f"w{i}": i for i in range(2, vocab_size)}
    special = {
        "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
        "special": True,
    }  # fmt: skip
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": vocab[word], "content": word, **special} for word in (UNKNOWN, END)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": UNKNOWN},
    }


def write_stand_in(name: str, folder: Path) -> None:
    """Write the folder of one model."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": UNKNOWN, "eos_token": END,
        "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    model = config(name)
    files: Mapping[str, Mapping[str, object]] = {
        "config.json": {**model, "eos_token_id": 1, "bos_token_id": 1},
        "tokenizer.json": tokenizer(int(str(model["vocab_size"]))),
        "tokenizer_config.json": settings,
    }
    for file, content in files.items():
        (folder / file).write_text(json.dumps(content, indent=1), encoding="utf-8")


def main() -> None:
    """Write the folder that the command line names."""
    if len(sys.argv) != 3:
        sys.exit("give a model and a folder: bench.stand_in MODEL DIR")
    write_stand_in(sys.argv[1], Path(sys.argv[2]))


if __name__ == "__main__":
    main()
