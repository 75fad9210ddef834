"""Nodes that do, on purpose, what the tests need to see: on ComfyUI and on the embedded host alike.

Only comfy.utils, comfy_execution.graph_utils and folder_paths are imported, and an image is an opaque value,
so that neither torch nor a model is needed.
"""

import asyncio
import gc
import io
import os
import threading
import time
import types

import comfy.utils
import folder_paths
from comfy_execution.graph_utils import ExecutionBlocker, GraphBuilder


class AnyType(str):
    """A type name that is equal to every other."""

    __hash__ = str.__hash__

    def __ne__(self, other):
        return False


ANY = AnyType("*")
SOURCE = {"source": (ANY,)}
SALT = ("FLOAT", {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.0000001})
SECONDS = ("FLOAT", {"default": 0.1, "min": -1.0, "max": 600.0, "step": 0.001})
TEXT = ("STRING", {"default": ""})


class Probe:
    """What the probes share: an output node of one output, in a category of its own."""

    CATEGORY = "probe"
    FUNCTION = "run"
    OUTPUT_NODE = True
    RETURN_TYPES = (ANY,)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}, "optional": dict(SOURCE)}


class ProbeSlow(Probe):
    """Takes its time, step by step; a progress call is where an interrupt is noticed."""

    @classmethod
    def INPUT_TYPES(cls):
        steps = ("INT", {"default": 10, "min": 1, "max": 100000})
        return {"required": {"seconds": SECONDS, "steps": steps}, "optional": {**SOURCE, "salt": SALT}}

    def run(self, seconds, steps, source=None, salt=0.0):
        bar = comfy.utils.ProgressBar(steps)
        for _ in range(steps):
            time.sleep(seconds / steps)
            bar.update(1)
        return (source,)


class ProbeSleepNoProgress(Probe):
    """Sleeps and says nothing, so that an interrupt isn't noticed here."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seconds": SECONDS}, "optional": {**SOURCE, "salt": SALT}}

    def run(self, seconds, source=None, salt=0.0):
        time.sleep(seconds)
        return (source,)


class ProbeFail(Probe):
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"message": TEXT}, "optional": dict(SOURCE)}

    def run(self, message, source=None):
        raise ValueError(message)


class ProbeSystemExit(Probe):
    """Kills the thread that runs prompts, and nobody says so."""

    def run(self, source=None):
        raise SystemExit("probe")


class ProbeAsync(Probe):
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seconds": SECONDS}, "optional": {**SOURCE, "salt": SALT}}

    async def run(self, seconds, source=None, salt=0.0):
        await asyncio.sleep(seconds)
        return (source,)


class ProbeExpand(Probe):
    """Becomes an inner ProbeSlow, and with prefixes an inner saver and an inner marker."""

    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        required = {"source": (ANY,), "filename_prefix": TEXT, "seconds": SECONDS}
        flags = {name: ("BOOLEAN", {"default": False}) for name in ("marker", "fail")}
        return {"required": required, "optional": {**flags, "marker_prefix": TEXT, "salt": SALT}}

    def run(self, source, filename_prefix, seconds, marker=False, fail=False, marker_prefix="", salt=0.0):
        graph = GraphBuilder()
        inner = graph.node("ProbeSlow", source=source, seconds=seconds, steps=2, salt=salt).out(0)
        if fail:
            inner = graph.node("ProbeFail", source=inner, message="inner failure").out(0)
        if filename_prefix:
            graph.node("SaveImage", images=inner, filename_prefix=filename_prefix)
        if marker:
            graph.node("WriteDoneMarker", filename_prefix=marker_prefix)
        return {"result": (inner,), "expand": graph.finalize()}


class ProbeLazy(Probe):
    """Asks for `source` only when told to use it: started, put back, started again."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"use": ("BOOLEAN", {"default": True}), "source": (ANY, {"lazy": True})}}

    def check_lazy_status(self, use, source=None):
        return ["source"] if use and source is None else []

    def run(self, use, source=None):
        return (source,)


class ProbeList(Probe):
    """A list of numbers: what comes next is run once for each."""

    OUTPUT_NODE = False
    OUTPUT_IS_LIST = (True,)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"count": ("INT", {"default": 3, "min": 0, "max": 1000})}}

    def run(self, count):
        return (list(range(count)),)


def free_names(filename_prefix, count, extension=".png"):
    """The folder and the next free names under a prefix, as core savers make them."""
    output = folder_paths.get_output_directory()
    full, name, counter, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, output)
    return full, subfolder, [f"{name}_{counter + i:05}_{extension}" for i in range(count)]


class ProbeSilentSaver(Probe):
    """Writes files and reports none; hands its source on, so that something can come after it."""

    @classmethod
    def INPUT_TYPES(cls):
        count = ("INT", {"default": 1, "min": 0, "max": 10000})
        extra = {**SOURCE, "extension": ("STRING", {"default": ".png"}), "salt": SALT}
        return {"required": {"filename_prefix": TEXT, "count": count}, "optional": extra}

    def run(self, filename_prefix, count, source=None, extension=".png", salt=0.0):
        full, _, names = free_names(filename_prefix, count, extension)
        for name in names:
            with open(os.path.join(full, name), "wb") as file:
                file.write(b"silent " + name.encode())
        return {"result": (source,)}


class ProbeLateSaver(Probe):
    """Reports a file that a thread writes `delay` seconds later; a negative delay means never."""

    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"filename_prefix": TEXT, "delay": SECONDS}, "optional": {**SOURCE, "salt": SALT}}

    def run(self, filename_prefix, delay, source=None, salt=0.0):
        full, subfolder, (name,) = free_names(filename_prefix, 1)

        def write():
            time.sleep(delay)
            with open(os.path.join(full, name), "wb") as file:
                file.write(b"late")

        if delay >= 0:
            threading.Thread(target=write, daemon=True).start()
        return {"ui": {"images": [{"filename": name, "subfolder": subfolder, "type": "output"}]}}


class ProbeFileSaver(Probe):
    """Writes one file of the given name and reports it under the given key, as an entry or as a path."""

    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        required = {"filename": TEXT, "subfolder": TEXT, "key": ("STRING", {"default": "gifs"})}
        optional = {
            **SOURCE,
            "type": ("STRING", {"default": "output"}),
            "as_path": ("BOOLEAN", {"default": False}),
            "content": ("STRING", {"default": "content"}),
            "salt": SALT,
        }
        return {"required": required, "optional": optional}

    def run(self, filename, subfolder, key, source=None, type="output", as_path=False, content="content", salt=0.0):
        root = folder_paths.get_temp_directory() if type == "temp" else folder_paths.get_output_directory()
        folder = os.path.join(root, subfolder)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, filename), "wb") as file:
            file.write(content.encode())
        if as_path:
            relative = f"{subfolder}/{filename}" if subfolder else filename
            return {"ui": {key: [relative, {"position": [0, 0, 1]}, None]}}
        return {"ui": {key: [{"filename": filename, "subfolder": subfolder, "type": type}]}}


class Odd:
    """Something that JSON can't say, and that won't be compared or printed, either."""

    def __eq__(self, other):
        raise RuntimeError("not to be compared")

    def __bool__(self):
        raise RuntimeError("ambiguous, as a tensor's truth is")

    def __repr__(self):
        raise RuntimeError("not to be printed")

    __hash__ = None


class ProbeOddUi(Probe):
    """Reports what custom nodes have been seen to report, beside one good file."""

    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"filename_prefix": TEXT}, "optional": {**SOURCE, "salt": SALT}}

    def run(self, filename_prefix, source=None, salt=0.0):
        full, subfolder, (name,) = free_names(filename_prefix, 1)
        with open(os.path.join(full, name), "wb") as file:
            file.write(b"odd")
        good = {"filename": name, "subfolder": subfolder, "type": "output"}
        nested = [{"a": {"b": [1, {"c": None}]}}, [[good["filename"]], (1, 2)]]
        things = [Odd(), {1, 2}, b"bytes", float("nan"), 1 << 80, print]
        entries = [None, 5, "x", Odd(), {"filename": 7}, {"filename": None, "type": Odd()}, {"subfolder": "s"}]
        entries += [{"filename": "../../escape.png", "subfolder": "..", "type": "output"}, {Odd: 1}, good]
        return {"ui": {"text": "a plain string", "nested": nested, "things": things, "images": entries}}


class ProbeString(Probe):
    """A string that comes over a wire."""

    OUTPUT_NODE = False
    RETURN_TYPES = ("STRING",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": TEXT}}

    def run(self, text):
        return (text,)


class ProbeBlocker(Probe):
    """Hands on a blocker, with a message or (empty) without."""

    OUTPUT_NODE = False

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"message": TEXT}, "optional": dict(SOURCE)}

    def run(self, message, source=None):
        return (ExecutionBlocker(message or None),)


class ProbeThreadProgress(Probe):
    """Tells progress from a plain thread, where ComfyUI doesn't know the node."""

    @classmethod
    def INPUT_TYPES(cls):
        steps = ("INT", {"default": 5, "min": 1, "max": 1000})
        return {"required": {"seconds": SECONDS, "steps": steps}, "optional": {**SOURCE, "salt": SALT}}

    def run(self, seconds, steps, source=None, salt=0.0):
        def work():
            bar = comfy.utils.ProgressBar(steps)
            for _ in range(steps):
                time.sleep(seconds / steps)
                bar.update(1)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return (source,)


class ProbeTypeName(Probe):
    """Saves what it was given, by type and value, so that a passthrough can be checked."""

    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"filename": TEXT, "value": ("INT", {"forceInput": True})}}

    def run(self, filename, value):
        with open(os.path.join(folder_paths.get_output_directory(), filename), "w", encoding="utf-8") as file:
            file.write(f"{type(value).__name__} {value}")
        return {}


class ProbeNumber(Probe):
    OUTPUT_NODE = False
    RETURN_TYPES = ("INT",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"number": ("INT", {"default": 0})}}

    def run(self, number):
        return (number,)


class ProbeTextSaver(Probe):
    """Writes a wired text to a file, for what a marker says its path is."""

    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"filename": TEXT, "text": ("STRING", {"forceInput": True})}}

    def run(self, filename, text):
        with open(os.path.join(folder_paths.get_output_directory(), filename), "w", encoding="utf-8") as file:
            file.write(text)
        return {}


class ProbeFileExists(Probe):
    """Writes whether a file is there at the moment when this node runs."""

    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"filename": TEXT, "look_for": TEXT}, "optional": {**SOURCE, "salt": SALT}}

    def run(self, filename, look_for, source=None, salt=0.0):
        output = folder_paths.get_output_directory()
        there = os.path.join(output, look_for)
        content = "absent"
        if os.path.exists(there):
            with open(there, encoding="utf-8") as file:
                content = file.read()
        with open(os.path.join(output, filename), "w", encoding="utf-8") as file:
            file.write(content)
        return {}


class ProbeSettings(Probe):
    """One input of each kind that a fingerprint tells apart."""

    @classmethod
    def INPUT_TYPES(cls):
        required = {
            "text": TEXT,
            "seed": ("INT", {"default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF}),
            "number": ("FLOAT", {"default": 1.0}),
            "choice": (["one", "two"],),
            "switch": ("BOOLEAN", {"default": False}),
        }
        return {"required": required, "optional": dict(SOURCE)}

    def run(self, text, seed, number, choice, switch, source=None):
        return (source,)


class ProbeCollect(Probe):
    """Collects garbage on the thread that runs prompts, as ComfyUI does after long ones."""

    def run(self, source=None):
        gc.collect()
        return (source,)


class ProbeCycle(Probe):
    """Expands into two nodes that wait for each other."""

    def run(self, source=None):
        graph = GraphBuilder()
        second = graph.node("ProbeSlow", seconds=0, steps=1)
        third = graph.node("ProbeSlow", source=second.out(0), seconds=0, steps=1)
        second.set_input("source", third.out(0))
        return {"result": (third.out(0),), "expand": graph.finalize()}


class ProbeFile3D(Probe):
    """A 3D file in memory, for ComfyUI's own 3D savers."""

    OUTPUT_NODE = False

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"extension": TEXT}}

    def run(self, extension):
        from comfy_api.latest import Types

        return (Types.File3D(io.BytesIO(b"three dimensions"), file_format=extension),)


class ProbeMesh(Probe):
    """One triangle, for SaveGLB."""

    OUTPUT_NODE = False

    def run(self, source=None):
        import torch
        from comfy_api.latest import _util

        corners = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
        return (_util.MESH(corners, torch.tensor([[[0, 1, 2]]])),)


class ProbeSVG(Probe):
    """A drawing, for SaveSVGNode, which asks for no more than its bytes."""

    OUTPUT_NODE = False

    def run(self, source=None):
        drawing = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
        return (types.SimpleNamespace(data=[io.BytesIO(drawing)]),)


NODE_CLASS_MAPPINGS = {
    cls.__name__: cls
    for cls in (
        ProbeAsync,
        ProbeBlocker,
        ProbeCollect,
        ProbeCycle,
        ProbeExpand,
        ProbeFail,
        ProbeFile3D,
        ProbeFileExists,
        ProbeFileSaver,
        ProbeLateSaver,
        ProbeLazy,
        ProbeList,
        ProbeMesh,
        ProbeNumber,
        ProbeOddUi,
        ProbeSVG,
        ProbeSettings,
        ProbeSilentSaver,
        ProbeSleepNoProgress,
        ProbeSlow,
        ProbeString,
        ProbeSystemExit,
        ProbeTextSaver,
        ProbeThreadProgress,
        ProbeTypeName,
    )
}
