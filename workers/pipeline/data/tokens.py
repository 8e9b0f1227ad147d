"""Token ids: the vocabulary as exact bytes, and the contexts that training, evaluation and
dashboards share.

Documents are cut into contexts in one of two ways:

    pack        [BOS] a a a a a a a | [BOS] a a SEP b b b b | [BOS] b b b SEP c c c | …
    separate    [BOS] a a a a a a a | [BOS] a a | [BOS] b b b b b b b | [BOS] c c c | …

`pack` joins all documents with a separator and cuts contexts of one size; `separate` cuts each
document alone, so that its last context may be shorter. SEP is the tokenizer's BOS, or its EOS if
it has no BOS; then contexts begin without one. A conversation is rendered by the tokenizer's chat
template, and a BOS that the template writes first is dropped, so that there is never a second one.
From here on everything works with ids: nothing decodes and tokenizes again.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Int64
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from features.records import InvalidInput, Piece, SequenceRecord, TokenRecord
from workers.pipeline.data.chat import Content, content_text

T = TypeVar("T")
DOCUMENTS_AT_ONCE = 32
"""Documents per call of the tokenizer, which tokenizes them in parallel on all CPU cores."""


class Tokenized(NamedTuple):
    """A document with its text (a conversation as the chat template renders it) and token ids."""

    name: str
    text: str
    token_ids: list[int]


OnDocument = Callable[[Tokenized], None]


def special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the ids of BOS, EOS, padding and every added token that is marked special."""
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether the tokenizer begins a text with BOS by itself. Many define a BOS that they do
    not add (SmolLM2, Qwen, GPT-2); then the model was not trained with one.
    """
    ids = list(tokenizer("a", verbose=False)["input_ids"])
    return bool(ids) and ids[0] == tokenizer.bos_token_id


def vocabulary(tokenizer: PreTrainedTokenizerBase) -> list[TokenRecord]:
    """Return every token in order of ids, with its exact bytes.

    The bytes of a text's ids, joined, are what the tokenizer decodes them to: the bytes of the text
    where it loses nothing, perhaps after one space. Handles byte-level tokens (GPT-2's alphabet)
    and byte fallbacks (`<0xE2>`); the tokenizer's own decoder gives the others. Added tokens are
    their own content.
    """
    special, added = special_ids(tokenizer), tokenizer.added_tokens_decoder
    token_bytes = _token_decoder(tokenizer)
    records = []
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        literal = index in added or index in special
        text = token.encode() if literal else token_bytes(token)
        records.append(TokenRecord(index, text, index in special))
    return records


def pack(
    documents: Iterable[tuple[str, Content]],
    tokenizer: PreTrainedTokenizerBase,
    context_size: int,
    *,
    prepend_bos: bool = True,
    on_document: OnDocument | None = None,
) -> Iterator[SequenceRecord]:
    """Yield contexts of exactly `context_size` ids, cut from all `documents` (name, content)
    joined.

    `position` counts contexts from 0; `document` names the document of the first id after BOS. The
    last, partial context is dropped. `on_document` is called with each document before the first
    context that contains some of it.

    Raises `InvalidInput("corpus")` if the documents do not fill one context, and
    `InvalidInput("context_size")` if a context has no room for a token after BOS.
    """
    separator = tokenizer.bos_token_id
    if separator is None:
        separator = tokenizer.eos_token_id
    head = _context_head(tokenizer, context_size, prepend_bos)
    position, context = 0, list(head)
    pieces: list[Piece] = []
    for name, _, ids in _tokenized(documents, tokenizer, on_document):
        start = 0
        while start < len(ids):
            pieces.append(Piece(len(context), name, start))
            end = start + context_size - len(context)
            context, start = context + ids[start:end], end
            if len(context) == context_size:
                yield SequenceRecord(position, pieces[0].document, context, pieces)
                position, context, pieces = position + 1, list(head), []
        # A context does not start with BOS and a separator.
        if ids and separator is not None and len(context) > len(head):
            context.append(separator)
            if len(context) == context_size:
                yield SequenceRecord(position, pieces[0].document, context, pieces)
                position, context, pieces = position + 1, list(head), []
    if not position:
        message = f"The corpus has only {len(context)} tokens; one context needs {context_size}."
        raise InvalidInput("corpus", message)


def separate(
    documents: Iterable[tuple[str, Content]],
    tokenizer: PreTrainedTokenizerBase,
    context_size: int,
    *,
    prepend_bos: bool = True,
    on_document: OnDocument | None = None,
) -> Iterator[SequenceRecord]:
    """Yield contexts of at most `context_size` ids, cut from each of `documents` (name, content)
    alone.

    The last context of a document is shorter, without padding. See `pack` for the records and
    `on_document`. Raises `InvalidInput("corpus")` if no document has a token.
    """
    head, position = _context_head(tokenizer, context_size, prepend_bos), 0
    size = context_size - len(head)
    for name, _, ids in _tokenized(documents, tokenizer, on_document):
        for start in range(0, len(ids), size):
            context = [*head, *ids[start : start + size]]
            yield SequenceRecord(position, name, context, [Piece(len(head), name, start)])
            position += 1
    if not position:
        raise InvalidInput("corpus", "The documents of the corpus have no tokens.")


def take_tokens(
    sequences: Iterable[SequenceRecord], tokens: int, special: Collection[int] = ()
) -> Iterator[SequenceRecord]:
    """Yield contexts until they have `tokens` ids or more, not counting the ids in `special`."""
    missing = tokens
    uncounted = frozenset(map(int, special))
    iterator = iter(sequences)
    while missing > 0 and (sequence := next(iterator, None)) is not None:
        missing -= sum(index not in uncounted for index in sequence.token_ids)
        yield sequence


def token_batches(
    sequences: Iterable[SequenceRecord], size: int, special: Collection[int] = ()
) -> Iterator[Int64[Tensor, "batch pos"]]:
    """Yield the token ids of `size` contexts at a time; the last batch may be smaller.

    Shorter contexts are padded at the end with one of the `special` ids, which are not counted and
    do not influence earlier positions of a causal model. Raises `InvalidInput("corpus")` if padding
    is needed and `special` is empty.
    """
    padding = next(iter(map(int, special)), None)
    for group in _groups(sequences, size):
        contexts = [sequence.token_ids for sequence in group]
        longest = max(map(len, contexts))
        if padding is None and any(len(ids) != longest for ids in contexts):
            raise InvalidInput(
                "corpus",
                "The tokenizer has no special token to fill contexts up with: add the corpus "
                "with packed documents.",
            )
        rows = [[*ids, *[padding] * (longest - len(ids))] for ids in contexts]
        yield torch.tensor(rows, dtype=torch.int64)


def _context_head(
    tokenizer: PreTrainedTokenizerBase, context_size: int, prepend_bos: bool
) -> list[int]:
    """The ids that each context begins with: BOS or none."""
    head = [tokenizer.bos_token_id] if prepend_bos and tokenizer.bos_token_id is not None else []
    if context_size <= len(head):
        raise InvalidInput("context_size", f"A context needs at least {len(head) + 1} tokens.")
    return head


def _tokenized(
    documents: Iterable[tuple[str, Content]],
    tokenizer: PreTrainedTokenizerBase,
    on_document: OnDocument | None,
) -> Iterator[Tokenized]:
    bos = tokenizer.bos_token_id
    for group in _groups(documents, DOCUMENTS_AT_ONCE):
        texts = [content_text(content, name, tokenizer) for name, content in group]
        encoded = tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, verbose=False
        )["input_ids"]
        for (name, content), text, ids in zip(group, texts, encoded, strict=True):
            bos_of_template = bos is not None and not isinstance(content, str) and ids[:1] == [bos]
            document = Tokenized(name, text, ids[1:] if bos_of_template else ids)
            if on_document:
                on_document(document)
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


def _token_decoder(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], bytes]:
    """A function that returns the bytes of a token."""
    if _is_byte_level(tokenizer):
        return _byte_level_bytes
    if not tokenizer.is_fast:
        return _sentencepiece_bytes
    return _own_decoder(tokenizer.backend_tokenizer)


def _byte_level_bytes(token: str) -> bytes:
    return b"".join(BYTE_OF_CHARACTER.get(char) or char.encode() for char in token)


def _sentencepiece_bytes(token: str) -> bytes:
    if BYTE_FALLBACK.fullmatch(token):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()


def _own_decoder(backend: Any) -> Callable[[str], bytes]:
    """What the tokenizer's decoder says between two letters, which are no tokens of its own kind.

    Its first and last token are decoded in another way: the mark of a word's end is dropped, and so
    is the space before the first word. A tokenizer without a decoder joins tokens with spaces.
    """
    state = json.loads(backend.to_str())
    fallback = '"ByteFallback"' in json.dumps(state["decoder"])
    decode = backend.decoder.decode if backend.decoder is not None else " ".join
    tail = len(decode(["x", "y"])) - 1

    def token_bytes(token: str) -> bytes:
        if fallback and BYTE_FALLBACK.fullmatch(token):
            return bytes([int(token[3:5], 16)])
        text: str = decode(["x", token, "y"])
        return text[1:-tail].encode()

    return token_bytes


def _byte_level_alphabet() -> dict[str, bytes]:
    """GPT-2's alphabet: printable Latin-1 bytes are themselves, the 68 others U+0100 onwards."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): bytes([byte]) for byte in printable}
    return alphabet | {chr(256 + index): bytes([byte]) for index, byte in enumerate(others)}


BYTE_OF_CHARACTER = _byte_level_alphabet()
BYTE_FALLBACK = re.compile(r"<0x[0-9A-F]{2}>")
