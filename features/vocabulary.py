"""Tokens of models as bytes, cached by the process."""

from collections.abc import Iterable

from django.db import connection

from features.token_spans import Vocabulary

MAX_CACHED_TOKENS = 200_000
"""Tokens that a process keeps, about 40 MB of them."""
_kept: dict[int, dict[int, tuple[bytes, bool]]] = {}


def vocabulary_of(model_id: int, token_ids: Iterable[int]) -> Vocabulary:
    """Bytes of some tokens, and of others that are cached: the tokens of a model never change. One
    query if one is not cached.
    """
    known, wanted = _kept.get(model_id, {}), set(token_ids)
    new = wanted.difference(known)
    if not new:
        return known
    if sum(map(len, _kept.values())) + len(new) > MAX_CACHED_TOKENS:
        _kept.clear()
        known, new = {}, wanted
    with connection.cursor() as cursor:
        # the ids go as one text, for a list of thousands takes long to put together
        cursor.execute(
            "SELECT token_id, text, special FROM features_token WHERE model_id = %s AND token_id "
            "= ANY(%s::int[])",
            [model_id, f"{{{','.join(map(str, new))}}}"],
        )
        known.update(
            (token_id, (bytes(text), special)) for token_id, text, special in cursor.fetchall()
        )
    _kept[model_id] = known
    return known
