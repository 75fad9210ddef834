"""The nodes that ComfyUI has, too: empty image, invert, save, preview as text."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from . import folders
from .options import args
from .pictures import ImageBatch, write_png


class EmptyImage:
    """Pictures of one colour."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "generate"
    CATEGORY = "image"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """Size, number, colour."""
        side = {"default": 512, "min": 1, "max": 16384, "step": 1}
        color = {"default": 0, "min": 0, "max": 0xFFFFFF, "step": 1, "display": "color"}
        batch = {"default": 1, "min": 1, "max": 4096}
        required = {"width": ("INT", side), "height": ("INT", side), "batch_size": ("INT", batch)}
        return {"required": required | {"color": ("INT", color)}}

    def generate(self, width: int, height: int, batch_size: int = 1, color: int = 0) -> tuple[ImageBatch]:
        """Make them."""
        return (ImageBatch.filled(width, height, batch_size, color),)


class ImageInvert:
    """Each colour turned to its opposite."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "invert"
    CATEGORY = "image"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """The pictures."""
        return {"required": {"image": ("IMAGE",)}}

    def invert(self, image: ImageBatch) -> tuple[ImageBatch]:
        """Turn them."""
        return (image.inverted(),)


class LoadImage:
    """A picture from the input folder, and its mask."""

    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "load_image"
    CATEGORY = "image"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """Which of the pictures there."""
        there = Path(folders.get_input_directory())
        names = sorted(path.name for path in there.iterdir() if path.is_file()) if there.is_dir() else []
        return {"required": {"image": (names, {"image_upload": True})}}

    @classmethod
    def VALIDATE_INPUTS(cls, image: str) -> bool | str:  # noqa: N802 - ComfyUI's name
        """A picture in a folder below is none of the choices, and good all the same."""
        return True if cls._path(image) is not None else f"Invalid image file: {image}"

    @classmethod
    def IS_CHANGED(cls, image: str) -> str:  # noqa: N802 - ComfyUI's name
        """Its content."""
        path = cls._path(image)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None else ""

    @staticmethod
    def _path(image: str) -> Path | None:
        """Behind a name may stand its folder: `name [output]`, `[input]` or `[temp]`."""
        kind = next((kind for kind in ("output", "input", "temp") if image.endswith(f" [{kind}]")), None)
        folder = folders.get_directory_by_type(kind or "input") or folders.get_input_directory()
        path = Path(folder, image.removesuffix(f" [{kind}]"))
        return path if path.is_file() and folders.is_within_directory(folder, str(path)) else None

    def load_image(self, image: str) -> tuple[ImageBatch, None]:
        """Read it."""
        path = self._path(image)
        if path is None:
            raise FileNotFoundError(image)
        return ImageBatch.read(path), None


class SaveImage:
    """Writes pictures into the output folder, numbered on from those already there."""

    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    FUNCTION = "save_images"
    OUTPUT_NODE = True
    CATEGORY = "image"
    DESCRIPTION = "Saves the input images to the output folder."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """The pictures, and where to."""
        required = {"images": ("IMAGE", {}), "filename_prefix": ("STRING", {"default": "ComfyUI"})}
        return {"required": required, "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}}

    def save_images(
        self, images: ImageBatch, filename_prefix: str = "ComfyUI", prompt: Any = None, extra_pnginfo: Any = None
    ) -> dict[str, Any]:
        """Write them and say which files they became."""
        metadata = {} if args.disable_metadata else {"prompt": prompt, **(extra_pnginfo or {})}
        return {"ui": {"images": save_batch(images, filename_prefix, metadata)}, "result": (images,)}


def save_batch(images: ImageBatch, prefix: str, metadata: dict[str, Any]) -> list[dict[str, str]]:
    """Write ``P_NNNNN_.png`` for each picture; returns what ComfyUI reports of them."""
    _, height, width, _ = images.shape
    place = folders.get_save_image_path(prefix, folders.get_output_directory(), width, height)
    folder, name, counter, subfolder, _ = place
    saved = []
    for number, frame in enumerate(images):
        file = f"{name.replace('%batch_num%', str(number))}_{counter + number:05}_.png"
        write_png(frame, Path(folder, file), metadata)
        saved.append({"filename": file, "subfolder": subfolder, "type": "output"})
    return saved


class PreviewAny:
    """Shows anything as text."""

    RETURN_TYPES = ("STRING",)
    FUNCTION = "main"
    OUTPUT_NODE = True
    CATEGORY = "utilities"
    DESCRIPTION = "Preview any input value as text."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """Anything."""
        return {"required": {"source": ("*", {})}}

    def main(self, source: Any = None) -> dict[str, Any]:
        """Show it."""
        text = source if isinstance(source, str) else "None" if source is None else _text(source)
        return {"ui": {"text": (text,)}, "result": (text,)}


def _text(source: Any) -> str:
    if isinstance(source, (int, float, bool)):
        return str(source)
    try:
        return json.dumps(source, indent=4)
    except (TypeError, ValueError):
        return str(source)


NODES: dict[str, tuple[type[Any], str]] = {
    "EmptyImage": (EmptyImage, "Empty Image"),
    "ImageInvert": (ImageInvert, "Invert Image"),
    "LoadImage": (LoadImage, "Load Image"),
    "SaveImage": (SaveImage, "Save Image"),
    "PreviewAny": (PreviewAny, "Preview as Text"),
}
