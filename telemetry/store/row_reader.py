"""Makes records of rows. A row that is damaged costs only itself: it is left out, and somebody is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, Row, RowMapping, select

from ..models.record import PromptRecord
from .rows import output_file, prompt_record, unread
from .tables import outputs

Made = TypeVar("Made")
OUTPUT_ROW = "record {prompt_pk}, output {seq}"
"""What a row of `outputs` is called where it is damaged."""


class RowReader:
    """Makes records of rows."""

    def __init__(self) -> None:
        self.on_damaged: Callable[[str, str], None] = lambda _which, _what: None
        """Told of every row that is read and damaged: which it is, and what is the matter. The others are read."""

    def records(self, connection: Connection, rows: Sequence[Row[Any]]) -> list[PromptRecord]:
        """The records of some rows of `prompts`, with their outputs."""
        found: dict[int, PromptRecord] = {}
        for row, record in self.made(rows, prompt_record, "record {pk}, prompt {prompt_id}"):
            found[row.pk] = record
            if record.damaged:
                self.on_damaged(f"record {row.pk}, prompt {row.prompt_id}", f"told without {', '.join(record.damaged)}")
        files = select(outputs).where(outputs.c.prompt_pk.in_(found)).order_by(outputs.c.prompt_pk, outputs.c.seq)
        if found:
            for row, file in self.made(connection.execute(files), output_file, OUTPUT_ROW):
                found[row.prompt_pk].outputs.append(file)
        return list(found.values())

    def made(
        self, rows: Iterable[Row[Any]], make: Callable[[RowMapping], Made], name: str
    ) -> Iterator[tuple[Row[Any], Made]]:
        """What is made of each row. One that can't be read is left out, and told by its `name`."""
        for row in rows:
            try:
                yield row, make(row._mapping)
            except ValidationError as error:
                self.on_damaged(name.format_map(row._mapping), f"left out for its {', '.join(unread(error))}")
