"""Write Done Marker: leaves a `.done` file beside what a prompt has saved, once all of it is there.

The marker itself is asked for by the queued graph and written by the recorder, so that it doesn't matter when, or
whether, this node runs. Its run only tells what was wired into it.
"""

from __future__ import annotations

from concurrent import futures
from typing import TYPE_CHECKING, Any

from ..telemetry.markers.prefix import PrefixError, check_prefix
from ..telemetry.markers.requests import INPUTS_READY, MARKER_CLASS, PROMPT_COMPLETES, WRITE_FAILED, WRITE_NOTHING
from ..telemetry.record.events import MarkerRun

if TYPE_CHECKING:
    from ..comfyui_host import Host

NODE_NAME = "Write Done Marker"
PATIENCE_SECONDS = 10.0
"""How long the node waits for its marker with `inputs ready`."""


def make_node(io: Any, host: Host) -> type[Any]:
    """The node's class, made of ComfyUI's own `io` (comfy_api's)."""
    template = io.MatchType.Template("after", allowed_types=io.AnyType)

    class WriteDoneMarker(io.ComfyNode):  # type: ignore[misc]
        """Marks what its prompt has saved as complete."""

        @classmethod
        def define_schema(cls) -> Any:
            return io.Schema(
                node_id=MARKER_CLASS,
                display_name=NODE_NAME,
                category="run-recorder",
                description=(
                    "Writes <filename_prefix>.done beside the saved files once the prompt has finished and every file "
                    "is complete, or .failed when it fails. Needs no wiring: with an empty prefix it marks everything "
                    "that this prompt saves."
                ),
                is_output_node=True,
                inputs=_inputs(io, template),
                outputs=[
                    io.MatchType.Output(template, id="passthrough", display_name="after"),
                    io.String.Output(id="marker_path", display_name="path"),
                ],
                hidden=[io.Hidden.unique_id],
            )

        @classmethod
        def fingerprint_inputs(cls, **_kwargs: Any) -> float:
            """Never the same as before: the node always runs."""
            return float("nan")

        @classmethod
        def validate_inputs(cls, filename_prefix: Any = "") -> bool | str:
            return _validate(filename_prefix)

        @classmethod
        def execute(
            cls,
            after: Any = None,
            filename_prefix: str = "",
            when: str = PROMPT_COMPLETES,
            on_failure: str = WRITE_FAILED,
            hash_files: bool = False,
        ) -> Any:
            unique_id = getattr(getattr(cls, "hidden", None), "unique_id", None)
            path = _tell(host, unique_id, str(filename_prefix), when, on_failure, bool(hash_files))
            return io.NodeOutput(after, path)

    return WriteDoneMarker


def _inputs(io: Any, template: Any) -> list[Any]:
    return [
        io.MatchType.Input(
            "after", template=template, optional=True, tooltip="Passed through unchanged. Nothing need be wired."
        ),
        io.String.Input(
            "filename_prefix",
            default="",
            optional=True,
            tooltip="As in the saver, e.g. shot/a for shot/a.done. Empty: one marker for each prefix that this "
            "prompt saves under. %prompt_id% and ComfyUI's own tokens are replaced.",
        ),
        io.Combo.Input(
            "when",
            options=[PROMPT_COMPLETES, INPUTS_READY],
            default=PROMPT_COMPLETES,
            optional=True,
            tooltip="When the whole prompt has finished, or as soon as this node's own inputs are there.",
        ),
        io.Combo.Input(
            "on_failure",
            options=[WRITE_FAILED, WRITE_NOTHING],
            default=WRITE_FAILED,
            optional=True,
            tooltip="What to leave when the prompt fails or is interrupted.",
        ),
        io.Boolean.Input(
            "hash_files", default=False, optional=True, tooltip="Also write each file's SHA-256 into the marker."
        ),
    ]


def _validate(filename_prefix: object) -> bool | str:
    from ..comfyui_host.process import roots

    if not isinstance(filename_prefix, str) or filename_prefix == "":
        return True
    try:
        check_prefix(filename_prefix, roots()["output"])
    except PrefixError as error:
        return str(error)
    return True


def _tell(host: Host, unique_id: Any, prefix: str, when: str, on_failure: str, hash_files: bool) -> str:
    """Tell the recorder what this node was given; the marker's relative path. Never fails the prompt."""
    return host.guarded("marker", _tell_unguarded, host, unique_id, prefix, when, on_failure, hash_files) or ""


def _tell_unguarded(host: Host, unique_id: Any, prefix: str, when: str, on_failure: str, hash_files: bool) -> str:
    prompt_id, node_id = host.executing(unique_id)
    settled: futures.Future[str] | None = futures.Future() if when == INPUTS_READY else None
    host.recording.marker_ran(MarkerRun(prompt_id, node_id, prefix, when, on_failure, hash_files, settled))
    if settled is not None:
        try:
            written = settled.result(PATIENCE_SECONDS)
        except futures.TimeoutError:
            written = ""
        return written if prefix else ""
    return host.recording.marker_path(prompt_id, prefix)
