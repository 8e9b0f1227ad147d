"""The columns of lists of features, with their orders and filters, for pages and the API.

A new column needs one line here, its definition, and, if lists can be ordered by it, an index on
(sae, field, index).
"""

from typing import NamedTuple


class Column(NamedTuple):
    """A number of a feature. `name` is a field of `Feature`, the term of its definition, and its
    name in URLs.

    `order` is the field to order by (empty: no order), `default` whether it is shown by default,
    `ranged` whether it can be filtered by `name`_min and `name`_max, `alive` whether it is positive
    for live features and 0 for dead ones.
    """

    name: str
    order: str = ""
    default: bool = False
    ranged: bool = False
    alive: bool = False


COLUMNS = {
    column.name: column
    for column in (
        Column("density", "density", default=True, ranged=True, alive=True),
        Column("max_activation", "max_activation", default=True, ranged=True, alive=True),
        Column("mean_activation", "mean_activation", alive=True),
        Column("fires", "density", alive=True),  # the same order, and it has an index
        Column("cluster"),
        Column("decoder_norm", "decoder_norm"),
        Column("encoder_decoder_cosine", "encoder_decoder_cosine"),
        Column("causal_effect", "causal_effect", ranged=True),
    )
}
ORDERED = [column for column in COLUMNS.values() if column.order]
ORDERS = ["index", *(sign + column.name for column in ORDERED for sign in ("-", ""))]
"""As URLs name them; a minus means descending."""

POSITIVE = {column.name: column.order for column in ORDERED if column.alive}


def order_keys(order: str, alive: bool | None = None) -> list[str]:
    """The fields of an order, with the index for ties. All counts of dead features are 0, so only
    the index orders them.
    """
    name = order.removeprefix("-")
    if order == "index" or (alive is False and name in POSITIVE):
        return ["index"]
    return [("-" if order.startswith("-") else "") + COLUMNS[name].order, "index"]
