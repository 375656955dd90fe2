"""The nucleotide tokenizer as the files that the libraries tokenizers and transformers read.

One token per letter, with the ids of `NucleotideTokenizer` for every letter that it knows. A file
cannot refuse a letter: what is no nucleotide code becomes [UNK].
"""

from __future__ import annotations

from typing import Any

from dnamdlm.tokens.nucleotide import AMBIGUITY_CODES, MASK_SYMBOL, NUCLEOTIDE_VOCABULARY

_SPECIAL = ("[CLS]", "[SEP]", "[BOS]", "[MASK]", "[PAD]", "[RESERVED]", "[UNK]")
_MASK, _UNKNOWN = "[MASK]", "[UNK]"


def tokenizer_json() -> dict[str, Any]:
    """Content of `tokenizer.json`: a WordLevel model of single letters."""
    ambiguous = AMBIGUITY_CODES.decode("ascii")
    replaced = [("a", "A"), ("c", "C"), ("g", "G"), ("t", "T")]
    replaced = [({"String": lower}, upper) for lower, upper in replaced]
    replaced.append(({"Regex": f"[n{ambiguous}{ambiguous.lower()}]"}, "N"))
    replaced.append(({"String": MASK_SYMBOL}, _MASK))
    vocabulary = {symbol: id_ for id_, symbol in enumerate(NUCLEOTIDE_VOCABULARY.symbols)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": vocabulary[symbol],
                "content": symbol,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for symbol in _SPECIAL
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": pattern, "content": content}
                for pattern, content in replaced
            ],
        },
        "pre_tokenizer": {
            "type": "Split",
            # any letter, a line break too; the dot has become a mask, which stays whole.
            "pattern": {"Regex": r"\[MASK\]|[\s\S]"},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": _UNKNOWN},
    }


def tokenizer_config(length: int) -> dict[str, Any]:
    """Content of `tokenizer_config.json`.

    Args:
        length: bases per window in training.
    """
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": length,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "bos_token": "[BOS]",
        "cls_token": "[CLS]",
        "mask_token": _MASK,
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "unk_token": _UNKNOWN,
    }
