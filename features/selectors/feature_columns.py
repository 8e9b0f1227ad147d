"""What a list of features can show, be ordered by and be filtered by: one entry a column, for page
and API alike.

A new column is one line here, its definition, and, where lists are ordered by it, an index of (sae,
field, index).
"""

from typing import NamedTuple


class Column(NamedTuple):
    """A number of a feature. `name` is a field of `Feature` and its definition's term, as addresses
    have it too.

    `order` is the field by which its order is (empty where there is none), `first` whether it is
    shown until somebody chooses, `ranged` whether it takes a least and a largest value (`name`_min
    and `name`_max), `alive` whether it is above 0 where a feature is alive and 0 where it is dead.
    """

    name: str
    order: str = ""
    first: bool = False
    ranged: bool = False
    alive: bool = False


COLUMNS = {
    column.name: column
    for column in (
        Column("density", "density", first=True, ranged=True, alive=True),
        Column("max_activation", "max_activation", first=True, ranged=True, alive=True),
        Column("mean_activation", "mean_activation", alive=True),
        Column(
            "fires", "density", alive=True
        ),  # of one run over one number of tokens: the order is the same, and has an index
        Column("cluster"),
        Column("decoder_norm", "decoder_norm"),
        Column("encoder_decoder_cosine", "encoder_decoder_cosine"),
        Column("causal_effect", "causal_effect", ranged=True),
    )
}
ORDERED = [column for column in COLUMNS.values() if column.order]
ORDERS = ["index", *(sign + column.name for column in ORDERED for sign in ("-", ""))]
"""As addresses name them; a minus sends the largest first."""


POSITIVE = {column.name: column.order for column in ORDERED if column.alive}


def keys(order: str, alive: bool | None = None) -> list[str]:
    """The fields of an order; ties go by index. Of dead features all that counts firings is 0, so
    the index alone orders them.
    """
    name = order.removeprefix("-")
    if order == "index" or (alive is False and name in POSITIVE):
        return ["index"]
    return [("-" if order.startswith("-") else "") + COLUMNS[name].order, "index"]
