"""Train a small tokenizer like Qwen's: NFC, Qwen2's pre-tokenizer, then byte-level BPE."""

from __future__ import annotations

import json
from collections import Counter
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
# Control tokens of models that see: around an image or a video, and in its place.
VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


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


def extend(tokenizer: Tokenizer, texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Return `tokenizer` with one token for each of the most frequent words of `texts`, and with `VISION_TOKENS`.

    Other texts are tokenized as before, unless they contain those words. The special tokens get the last ids.
    """
    state = json.loads(tokenizer.to_str())
    vocab: dict[str, int] = {
        token: id for token, id in state["model"]["vocab"].items() if tokenizer.get_added_tokens_decoder().get(id) is None
    }
    merges = [tuple(merge) for merge in state["model"]["merges"]]
    special = [*CONTROL_TOKENS, *VISION_TOKENS]
    pieces = Counter(piece for text in texts for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    extended = new_tokenizer(BPE(vocab, merges))
    for piece, _ in sorted(pieces.items(), key=lambda item: (-item[1], item[0])):
        while True:
            tokens = extended.encode(piece_text(piece)).tokens
            if len(tokens) == 1 or len(vocab) + len(special) + len(TEXT_TOKENS) == vocab_size:
                break
            pair = (tokens[0], tokens[1])
            vocab.setdefault("".join(pair), len(vocab))
            merges.append(pair)
            extended = new_tokenizer(BPE(vocab, merges))
    added = [AddedToken(token, special=True, normalized=False) for token in special]
    added += [AddedToken(token, special=False, normalized=False) for token in TEXT_TOKENS]
    extended.add_tokens(added)
    return extended


def piece_text(piece: str) -> str:
    """Return the text of a piece in the byte-level alphabet."""
    return decoders.ByteLevel().decode([piece])
