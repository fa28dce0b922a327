"""Train a small tokenizer like Qwen's: NFC, Qwen2's pre-tokenizer, then byte-level BPE."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

# The split pattern of Qwen2's published tokenizer.json. Its alternatives: contractions, words with
# at most one leading non-letter, single digits, punctuation, line ends, spaces.
PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Control tokens, which are never shown to a user.
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Tokens with one id each that count as text: decoding with `skip_special_tokens` keeps them.
TEXT_TOKENS = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)


def new_tokenizer(model: BPE) -> Tokenizer:
    """Return a tokenizer around `model` with Qwen's normalizer, pre-tokenizer and decoder, without special tokens."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKENIZER), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn merges from `texts`. `vocab_size` includes the special tokens, which get the last ids."""
    special = [AddedToken(t, special=True, normalized=False) for t in CONTROL_TOKENS]
    special += [AddedToken(t, special=False, normalized=False) for t in TEXT_TOKENS]
    tokenizer = new_tokenizer(BPE())
    trainer = BpeTrainer(
        vocab_size=vocab_size - len(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(special)
    return tokenizer
