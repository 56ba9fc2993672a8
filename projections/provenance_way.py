"""A way from one thing to the next: a query over tables that are there anyway.

In `source` the thing that is asked about is `asked`, with the parts of its id as k1, k2 and k3; everything is as of
%(position)s. `sort` is unique among what is found, so that pages can go on behind it.
"""

from typing import Any

from msgspec import Struct

from domain.provenance import Direction, Kind, Relation

UNPLACED = 2**31 - 1  # sorts after every place
MEMBER = "m.added_position <= %(position)s AND coalesce(m.removed_position > %(position)s, true)"
LINKED = "l.added_position <= %(position)s AND coalesce(l.removed_position > %(position)s, true)"
MEMBERS_ORDER = (f"coalesce(m.place, {UNPLACED})", "m.added_position", "m.ordinal")

# Of a step that two processes finished, the last one counts.
STEP = """
    (SELECT t.* FROM projections.sweep_steps t WHERE t.sweep_id = asked.k1 AND t.k = asked.k2
        AND t.position <= %(position)s ORDER BY t.position DESC LIMIT 1) s
"""
# Of a round likewise.
ROUNDS = """
    (SELECT DISTINCT ON (t.round) t.* FROM projections.sweep_rounds t WHERE t.sweep_id = asked.k1 AND t.k = asked.k2
        AND t.position <= %(position)s ORDER BY t.round, t.position DESC) r
"""
STARTED = "projections.sweeps s WHERE s.sweep_id = asked.k1 AND s.started_position <= %(position)s"
FINISHED = "s.finished_position <= %(position)s"
MODELS = """
    projections.sweeps s CROSS JOIN LATERAL (VALUES
        (1, 'embedding', s.source ->> 'embedding_provider', s.source ->> 'embedding_model'),
        (2, 'naming', split_part(s.config ->> 'summarise', '/', 1),
            substr(s.config ->> 'summarise', position('/' IN s.config ->> 'summarise') + 1))
    ) AS m (nth, role, provider, model)
"""
KEPT = "projections.artifacts a WHERE a.artifact_id = asked.k1 AND a.position <= %(position)s"


class Way(Struct, frozen=True, kw_only=True):
    """Leads from things of one kind to things of another.

    key: the parts of the id of what is found, as SQL; sort: its order; prefix: how many of the sort's expressions an
    index knows; against: the relation holds the other way round
    """

    kind: Kind
    name: str
    direction: Direction
    to: Kind
    relation: Relation
    source: str
    key: tuple[str, ...]
    sort: tuple[str, ...]
    against: bool = False
    role: str = "NULL::text"
    prefix: int = 0


def up(kind: Kind, name: str, to: Kind, relation: Relation, source: str, key: tuple[str, ...], **more: Any) -> Way:
    """A way to what a thing came from."""
    settings = {"sort": ("1",), **more}
    return Way(kind=kind, name=name, direction="up", to=to, relation=relation, source=source, key=key, **settings)


def down(kind: Kind, name: str, to: Kind, relation: Relation, source: str, key: tuple[str, ...], **more: Any) -> Way:
    """A way to what was made of a thing, so that the relation holds from there to here unless it is said."""
    settings = {"sort": ("1",), "against": True, **more}
    return Way(kind=kind, name=name, direction="down", to=to, relation=relation, source=source, key=key, **settings)
