"""A byte-level BPE tokenizer of a training text, in the form of Pythia's."""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Int32
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

END_OF_TEXT, PADDING = "<|endoftext|>", "<|padding|>"


def learn_tokenizer(speeches: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Learn merges from speeches; the same speeches give the same tokenizer.

    Any text can be encoded. Nothing is added to it by default; BOS and EOS are `<|endoftext|>`,
    which stands before every speech in training.

    Parameters
    ----------
    vocabulary: most entries, special tokens and the 256 bytes among them.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(speeches, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
    )


def stream(tokenizer: PreTrainedTokenizerFast, speeches: list[str]) -> Int32[np.ndarray, " tokens"]:
    """The token ids of all speeches in a row, each after a BOS."""
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(speeches)
    bos = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    return np.concatenate([np.array([bos, *e.ids], dtype=np.int32) for e in encodings])


def hash_of(tokenizer: PreTrainedTokenizerFast) -> str:
    """The sha256 of the tokenizer's file, `tokenizer.json`."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str(pretty=True).encode()).hexdigest()
