"""Token ids of a prompt: a text to continue, or a message for the model's chat template."""

import torch

from features.records import InvalidInput
from workers.pipeline.data.chat import Conversation, TemplateRefusal, render_chat
from workers.pipeline.model.language import Language, check_embeddings


def prompt_ids(language: Language, prompt: str, chat: bool, bos: bool) -> list[int]:
    """Return the token ids that the model continues.

    With `chat`, `prompt` is a user message in the tokenizer's chat template, which writes its own
    BOS. Otherwise it is a plain text, which begins with BOS if `bos` is true and the tokenizer has
    one.

    Raises `InvalidInput("mode")` if the model has no chat template or it refuses the message, and
    `InvalidInput("prompt")` if the prompt is empty or leaves no room for another token.
    """
    tokenizer = language.tokenizer
    if chat:
        if not tokenizer.chat_template:
            raise InvalidInput(
                "mode", "This model has no chat template: give it a text to continue."
            )
        messages = [{"role": "user", "content": prompt}]
        text = _chat_text(language, messages)
        head: list[int] = []
    else:
        text = prompt
        head = [tokenizer.bos_token_id] if bos and tokenizer.bos_token_id is not None else []
    ids = head + list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    if not ids or not prompt.strip("\0"):
        raise InvalidInput("prompt", "Write a prompt: this one has no tokens.")
    if len(ids) >= language.context_size:
        raise InvalidInput(
            "prompt",
            f"This prompt has {len(ids):,} tokens; "
            f"the model reads at most {language.context_size - 1:,} to continue.",
        )
    check_embeddings(language, torch.tensor(ids))
    return ids


def _chat_text(language: Language, messages: Conversation) -> str:
    """The message in the model's chat template, which may refuse it in its own words."""
    try:
        return render_chat(messages, language.tokenizer, reply=True)
    except TemplateRefusal as refusal:
        raise InvalidInput(
            "mode",
            f"The model's chat template refuses this prompt: {refusal}. Give it a text to continue "
            "instead.",
        ) from refusal
