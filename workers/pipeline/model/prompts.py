"""A prompt as token ids: as it is typed, or as a question through the model's own chat template."""

from features.records import InvalidInput
from workers.pipeline.model.language import Language


def prompt_ids(language: Language, prompt: str, chat: bool, bos: bool) -> list[int]:
    """The ids that the model goes on from; `bos` says whether a typed text begins with that token,
    where there is one.

    A chat template writes its own beginning, so that none is written twice. `InvalidInput`, by
    field, for what cannot be read.
    """
    tokenizer = language.tokenizer
    if chat:
        if not tokenizer.chat_template:
            raise InvalidInput(
                "mode", "This model has no chat template: give it a text to go on with."
            )
        turns = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        ids = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    else:
        head = [tokenizer.bos_token_id] if bos and tokenizer.bos_token_id is not None else []
        ids = head + list(tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"])
    if not ids or not prompt.strip("\0"):
        raise InvalidInput("prompt", "Write a prompt: this has no token.")
    if len(ids) >= language.context_size:
        most = language.context_size - 1
        raise InvalidInput(
            "prompt",
            f"This prompt has {len(ids):,} tokens; the model reads at most {most:,} to go on from.",
        )
    return ids
