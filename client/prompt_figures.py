"""One prompt's figures: the server's record of it has them, else two looks from outside its process."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from .comfy_client import ComfyClient
from .errors import ServerError
from .outside import Outside, Seen
from .scene_figures import SceneFigures, from_outside, from_record

NO_RECORD = "the server has no record of this prompt after all, so that there are no figures from before it"


class PromptFigures:
    """Figures of one prompt of one client. `by_record`: the server has our routes, so that nothing is looked at before.

    All but `of_record` raise nothing.
    """

    def __init__(self, client: ComfyClient, *, by_record: bool) -> None:
        self._client = client
        self._by_record = by_record
        self._outside = Outside(client.url, client.headers)
        self._before: Seen | None = None
        self._found: SceneFigures | None = None

    @property
    def found(self) -> SceneFigures:
        """What is known so far."""
        return self._found or from_outside(self._before, None)

    async def before(self) -> None:
        """To be called before the prompt is queued."""
        if not self._by_record:
            self._before = await asyncio.to_thread(self._outside.look, "before")

    async def never_queued(self) -> None:
        """To be called where ComfyUI took no such prompt: of that there is no record."""
        self._before = self._before or await asyncio.to_thread(self._outside.look, "before")

    async def after(self, prompt_id: str) -> None:
        """To be called after the prompt's end, or once it is given up."""
        try:
            if self._by_record and await self.of_record(prompt_id):
                return
        except ServerError:
            pass
        seen = from_outside(self._before, await asyncio.to_thread(self._outside.look, "after"))
        if self._by_record:
            notes = [NO_RECORD, *seen.system.FallbackNotes]
            seen = replace(seen, system=seen.system.model_copy(update={"FallbackNotes": notes}))
        self._found = seen

    async def of_record(self, prompt_id: str) -> bool:
        """Take the record's figures, as far as they go; false where there is none. Raises ServerError."""
        told = await self._client.contract(prompt_id) if self._by_record else None
        if told is None:
            return False
        self._found = from_record(told)
        return True
