"""What is to be saved of one run, and how it is saved within a transaction."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, insert, select, update

from ..models.record import NodeRecord, PromptRecord
from ..models.settings import NodeSettings
from ..models.text import clean
from ..models.times import milliseconds
from .bulk import insert_many, insert_new
from .rows import NODE_CHANGES, NODE_COLUMNS, node_change, node_row, output_row, prompt_row
from .tables import nodes, outputs, prompts, samples, settings


@dataclass(slots=True)
class Change:
    """What is to be saved of one run."""

    record: PromptRecord
    new_nodes: list[NodeRecord] = field(default_factory=list)
    changed_nodes: list[NodeRecord] = field(default_factory=list)
    outputs: bool = False
    """True where the outputs are final and are to be saved, too."""

    @property
    def was_new(self) -> bool:
        """Whether the store does not have its prompt yet."""
        return self.record.pk is None

    @property
    def new_seqs(self) -> list[int]:
        """The places of its new nodes."""
        return [node.seq for node in self.new_nodes]

    @property
    def has_samples(self) -> bool:
        """Whether a curve is to be saved."""
        return self.record.samples is not None


def save_change(connection: Connection, change: Change, numbers: Mapping[str, int]) -> int:
    """Save one run within a transaction; its key. `numbers` are those of classes, by their names."""
    record = change.record
    row = prompt_row(record, milliseconds(time.time()))
    key = record.pk
    if key is None:
        made = connection.execute(insert(prompts), row).inserted_primary_key
        key = made[0] if made is not None else None
    else:
        connection.execute(_UPDATE_PROMPT, {**row, "the_pk": key})
    if key is None:
        raise RuntimeError("the database gave no key to a new prompt")
    if record.settings is not None and record.settings_id is not None:
        _save_settings(connection, record.settings_id, record.settings)
    if change.new_nodes:
        rows = [node_row(key, node, numbers.get(clean(node.class_type or ""))) for node in change.new_nodes]
        insert_many(connection, nodes, NODE_COLUMNS, rows)
    if change.changed_nodes:
        connection.execute(_UPDATE_NODE, [_node_change(key, node) for node in change.changed_nodes])
    if change.outputs and record.outputs:
        connection.execute(insert(outputs), [output_row(key, seq, file) for seq, file in enumerate(record.outputs)])
    if record.samples is not None:
        _save_curve(connection, key, record.samples)
    return key


def _save_settings(connection: Connection, key: str, data: Mapping[str, NodeSettings]) -> None:
    """Keep them, unless they are there."""
    known = connection.dialect.name == "sqlite" and connection.execute(_KNOWN_SETTINGS, {"the_id": key}).first()
    if not known:
        insert_new(connection, settings, {"id": key, "data": data})


def _save_curve(connection: Connection, pk: int, data: bytes) -> None:
    if not connection.execute(_UPDATE_SAMPLES, {"the_pk": pk, "new_data": data}).rowcount:
        connection.execute(insert(samples), {"prompt_pk": pk, "data": data})


_KNOWN_SETTINGS = select(settings.c.id).where(settings.c.id == bindparam("the_id"))
_UPDATE_PROMPT = update(prompts).where(prompts.c.pk == bindparam("the_pk"))
_UPDATE_SAMPLES = update(samples).where(samples.c.prompt_pk == bindparam("the_pk")).values(data=bindparam("new_data"))
_UPDATE_NODE = (
    update(nodes)
    .where(nodes.c.prompt_pk == bindparam("the_pk"), nodes.c.seq == bindparam("the_seq"))
    .values({name: bindparam(f"new_{name}") for name in NODE_CHANGES})
)


def _node_change(pk: int, node: NodeRecord) -> dict[str, object]:
    changes = {f"new_{name}": value for name, value in node_change(node).items()}
    return {"the_pk": pk, "the_seq": node.seq, **changes}
