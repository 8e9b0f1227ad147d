"""Token ids: the vocabulary as exact bytes, and the one token stream that training, evaluation and
dashboards share.

The stream is every document end to end with a separator between them, cut into contexts of one size
(`pack`); or each document alone, whose last context is shorter (`separate`):

    pack        [BOS] a a a a a a a | [BOS] a a SEP b b b b | [BOS] b b b SEP c c c | …
    separate    [BOS] a a a a a a a | [BOS] a a | [BOS] b b b b b b b | [BOS] c c c | …

SEP is the tokenizer's BOS, or its EOS where it has no BOS; a tokenizer without BOS gets contexts
without one. A conversation is what the tokenizer's chat template makes of it, without the BOS that
some templates write first: there is never a second one. Ids are the truth from here on: nothing
downstream decodes and tokenizes again.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Int64
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from features.records import InvalidInput, Piece, SequenceRecord, TokenRecord
from workers.pipeline.data.chat import Content, content_text

T = TypeVar("T")
DOCUMENTS_AT_ONCE = 32
"""Documents per call of the tokenizer, which spreads them over the processor's cores."""


class Tokenized(NamedTuple):
    """A document as it is read: its text (a conversation's as the chat template writes it) and the
    text's token ids.
    """

    name: str
    text: str
    token_ids: list[int]


Seen = Callable[[Tokenized], None]


def special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that stand for no text: BOS, EOS, padding and every added token that is
    marked special.
    """
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def vocabulary(tokenizer: PreTrainedTokenizerBase) -> list[TokenRecord]:
    """Every token by id, as the exact bytes it stands for; joining the bytes of a text's ids gives
    the text's bytes.

    Reads byte-level tokens (GPT-2's alphabet), byte fallbacks (`<0xE2>`) and U+2581 for a space; an
    added token stands for its own content.
    """
    special, added = special_ids(tokenizer), tokenizer.added_tokens_decoder
    byte_level = _is_byte_level(tokenizer)
    records = []
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        text = (
            token.encode()
            if index in added or index in special
            else _token_bytes(token, byte_level)
        )
        records.append(TokenRecord(index, text, index in special))
    return records


def pack(
    documents: Iterable[tuple[str, Content]],
    tokenizer: PreTrainedTokenizerBase,
    context_size: int,
    *,
    prepend_bos: bool = True,
    seen: Seen | None = None,
) -> Iterator[SequenceRecord]:
    """Cut the stream of `documents` (name, content) into contexts of exactly `context_size` ids
    (see the top of this file).

    `position` counts contexts from 0; `document` names where the first id after BOS is from. The
    last, partial context is dropped. `seen` is told each document before the first context that
    holds some of it. Raises `InvalidInput("corpus")` where the documents do not fill one context.
    """
    separator = (
        tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    )
    head = _head(tokenizer, context_size, prepend_bos)
    position, context = 0, list(head)
    pieces: list[Piece] = []
    for name, _, ids in _tokenized(documents, tokenizer, seen):
        start = 0
        while start < len(ids):
            pieces.append(Piece(len(context), name, start))
            taken = ids[start : start + context_size - len(context)]
            context, start = context + taken, start + len(taken)
            if len(context) == context_size:
                yield SequenceRecord(position, pieces[0].document, context, pieces)
                position, context, pieces = position + 1, list(head), []
        if (
            ids and separator is not None and len(context) > len(head)
        ):  # a context never starts with BOS and a separator
            context.append(separator)
            if len(context) == context_size:
                yield SequenceRecord(position, pieces[0].document, context, pieces)
                position, context, pieces = position + 1, list(head), []
    if not position:
        raise InvalidInput(
            "corpus",
            f"The corpus has only {len(context)} tokens; one context needs {context_size}.",
        )


def separate(
    documents: Iterable[tuple[str, Content]],
    tokenizer: PreTrainedTokenizerBase,
    context_size: int,
    *,
    prepend_bos: bool = True,
    seen: Seen | None = None,
) -> Iterator[SequenceRecord]:
    """Cut each of `documents` (name, content) into contexts of its own, at most `context_size` ids
    long.

    The last context of a document holds what is left of it, and no padding. Raises
    `InvalidInput("corpus")` where no document holds a token.
    """
    head, position = _head(tokenizer, context_size, prepend_bos), 0
    for name, _, ids in _tokenized(documents, tokenizer, seen):
        for start in range(0, len(ids), context_size - len(head)):
            context = [*head, *ids[start : start + context_size - len(head)]]
            yield SequenceRecord(position, name, context, [Piece(len(head), name, start)])
            position += 1
    if not position:
        raise InvalidInput("corpus", "The documents of the corpus hold no token.")


def take_tokens(
    sequences: Iterable[SequenceRecord], tokens: int, special: Collection[int] = ()
) -> Iterator[SequenceRecord]:
    """Yield whole contexts until they hold at least `tokens` ids; ids in `special` are not counted
    (none by default).
    """
    left = tokens
    uncounted = frozenset(map(int, special))
    iterator = iter(sequences)
    while left > 0 and (sequence := next(iterator, None)) is not None:
        left -= sum(index not in uncounted for index in sequence.token_ids)
        yield sequence


def token_batches(
    sequences: Iterable[SequenceRecord], size: int, special: Collection[int] = ()
) -> Iterator[Int64[Tensor, "batch pos"]]:
    """Token ids of `size` contexts at a time; the last batch may be smaller.

    Shorter contexts are filled up at their end with one of the `special` ids, which nobody counts
    and which a causal model does not see from before. Raises `InvalidInput("corpus")` where that is
    needed and there is none.
    """
    filler = next(iter(map(int, special)), None)
    for group in _groups(sequences, size):
        longest = max(len(sequence.token_ids) for sequence in group)
        if filler is None and any(len(sequence.token_ids) != longest for sequence in group):
            raise InvalidInput(
                "corpus",
                "The tokenizer has no special token to fill contexts up with: add the corpus "
                "with packed documents.",
            )
        rows = [
            [*ids, *[filler] * (longest - len(ids))]
            for ids in (sequence.token_ids for sequence in group)
        ]
        yield torch.tensor(rows, dtype=torch.int64)


def _head(tokenizer: PreTrainedTokenizerBase, context_size: int, prepend_bos: bool) -> list[int]:
    """What each context begins with."""
    head = [tokenizer.bos_token_id] if prepend_bos and tokenizer.bos_token_id is not None else []
    if context_size <= len(head):
        raise InvalidInput("context_size", f"A context needs at least {len(head) + 1} tokens.")
    return head


def _tokenized(
    documents: Iterable[tuple[str, Content]], tokenizer: PreTrainedTokenizerBase, seen: Seen | None
) -> Iterator[Tokenized]:
    bos = tokenizer.bos_token_id
    for group in _groups(documents, DOCUMENTS_AT_ONCE):
        texts = [content_text(content, name, tokenizer) for name, content in group]
        encoded = tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, verbose=False
        )["input_ids"]
        for (name, content), text, ids in zip(group, texts, encoded, strict=True):
            second = bos is not None and not isinstance(content, str) and ids[:1] == [bos]
            document = Tokenized(name, text, ids[1:] if second else ids)
            if seen:
                seen(document)
            yield document


def _groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def _is_byte_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    if not tokenizer.is_fast:
        return hasattr(tokenizer, "byte_decoder")
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    return '"ByteLevel"' in json.dumps([state["decoder"], state["pre_tokenizer"]])


def _token_bytes(token: str, byte_level: bool) -> bytes:
    if byte_level:
        return b"".join(
            BYTES[character] if character in BYTES else character.encode() for character in token
        )
    if FALLBACK.fullmatch(token):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()


def _byte_alphabet() -> dict[str, bytes]:
    """Byte-level tokenizers write printable Latin-1 bytes as themselves, and the 68 others as
    U+0100 onwards.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    written = {chr(byte): bytes([byte]) for byte in printable}
    return written | {chr(256 + place): bytes([byte]) for place, byte in enumerate(others)}


BYTES = _byte_alphabet()
FALLBACK = re.compile(r"<0x[0-9A-F]{2}>")
