"""Which prompts a filter means, asked so that a page of a million prompts takes milliseconds.

A filter that few prompts pass is answered from its own index; one that many pass is checked prompt by prompt, newest
first, until the page is full. Which of the two it is, is found by asking each index for a limited number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, column, exists, literal_column, or_, select, table

from ..models.listing import Filter
from ..models.text import clean, storable
from .tables import classes, nodes, outputs, prompts

FEW = 1000
"""As many as can be looked up and sorted in a few milliseconds."""
SEARCH_TABLE = "prompt_search"
"""SQLite's full-text index of three-letter pieces; not there for other databases, nor where SQLite lacks it."""
_PIECE = 3
RAREST, MOST_PROBED, PROBE = 4, 16, 200
"""So many of a text's pieces are looked up; so many are tried for it; by how far back so many prompts with it reach."""
_search = table(SEARCH_TABLE, column("rowid"))


def conditions(connection: Connection, wanted: Filter, indexed: bool) -> list[ColumnElement[bool]]:
    """A filter as conditions on `prompts`. `indexed` says whether the full-text index is there."""
    found: list[ColumnElement[bool]] = []
    if wanted.statuses:
        found.append(prompts.c.status.in_(wanted.statuses))
    if wanted.since_ms is not None:
        found.append(prompts.c.sort_ms >= storable(wanted.since_ms))
    if wanted.until_ms is not None:
        found.append(prompts.c.sort_ms < storable(wanted.until_ms))
    found += [column == clean(given) for column, given in _exactly(wanted) if given]
    if wanted.class_type:
        named = select(classes.c.id).where(classes.c.name == clean(wanted.class_type))
        numbers = connection.execute(named).scalars().all()
        few = _few(connection, [_of_class(number) for number in numbers])
        found.append(_ran_one_of(numbers) if few is None else few)
    if wanted.output:
        filename = clean(wanted.output)
        query = select(outputs.c.prompt_pk).where(outputs.c.filename == filename)
        few = _few(connection, [query.distinct().order_by(outputs.c.prompt_pk.desc())])
        found.append(_saved(filename) if few is None else few)
    if wanted.q:
        found.append(_words(connection, clean(wanted.q.lower()), indexed))
    return found


def _exactly(wanted: Filter) -> Iterator[tuple[ColumnElement[Any], str | None]]:
    """Columns that are to be what is given. A workflow's runs have an index of their own; the others are checked."""
    yield prompts.c.workflow_fingerprint, wanted.workflow
    yield prompts.c.settings_fingerprint, wanted.settings
    yield prompts.c.environment_id, wanted.environment
    yield prompts.c.instance_id, wanted.instance


def _words(connection: Connection, text: str, indexed: bool) -> ColumnElement[bool]:
    like = select(classes.c.id).where(classes.c.name.icontains(text, autoescape=True))
    numbers = connection.execute(like).scalars().all()
    in_text = prompts.c.search.contains(text, autoescape=True)
    queries = [_of_class(number) for number in numbers]
    if indexed and len(text) >= _PIECE:
        pieces = list(dict.fromkeys(text[start : start + _PIECE] for start in range(len(text) - _PIECE + 1)))
        few = _few(connection, [*queries, _with_pieces(_rarest(connection, pieces))])
        if few is None and len(pieces) > RAREST:
            few = _few(connection, [*queries, _with_pieces(pieces)])
        if few is not None:
            return few & or_(in_text, _ran_one_of(numbers))
    return or_(in_text, _ran_one_of(numbers)) if numbers else in_text


def _few(connection: Connection, queries: Iterable[Select[Any]]) -> ColumnElement[bool] | None:
    """That a prompt is among what these queries find; null where one of them finds many."""
    keys: set[int] = set()
    for query in queries:
        found = connection.execute(query.limit(FEW)).scalars().all()
        keys.update(found)
        if len(found) == FEW or len(keys) >= FEW:
            return None
    return prompts.c.pk.in_(keys)


def _of_class(number: int) -> Select[Any]:
    query = select(nodes.c.prompt_pk).where(nodes.c.class_id == number)
    return query.distinct().order_by(nodes.c.prompt_pk.desc())


def _ran_one_of(numbers: Iterable[int]) -> ColumnElement[bool]:
    return exists().where(nodes.c.prompt_pk == prompts.c.pk, nodes.c.class_id.in_(list(numbers)))


def _saved(filename: str) -> ColumnElement[bool]:
    return exists().where(outputs.c.prompt_pk == prompts.c.pk, outputs.c.filename == filename)


def _rarest(connection: Connection, pieces: list[str]) -> list[str]:
    """Some pieces that few prompts have, as the newest prompts tell: to step through one that all have takes long.

    How far back the 200th newest prompt with a piece lies says how common it is; where there are fewer, it is rare.
    """
    if len(pieces) <= RAREST:
        return pieces
    reached: list[tuple[int, str]] = []
    for piece in pieces[:MOST_PROBED]:
        query = _with_pieces([piece]).limit(1).offset(PROBE - 1)
        reached.append((connection.execute(query).scalar() or 0, piece))
    return [piece for _, piece in sorted(reached)[:RAREST]]


def _with_pieces(pieces: Iterable[str]) -> Select[Any]:
    """The prompts whose text has each of these pieces; newest first."""
    wanted = " AND ".join('"' + piece.replace('"', '""') + '"' for piece in pieces)
    query = select(_search.c.rowid).where(literal_column(SEARCH_TABLE).op("MATCH")(wanted))
    return query.order_by(_search.c.rowid.desc())
