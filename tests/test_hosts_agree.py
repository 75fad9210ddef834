"""The embedded host is a stand-in: what it shows to a pack, and to HTTP, must be what the real ComfyUI shows.

No recorder takes part. A small pack writes down every call that goes through the seams, on both hosts alike;
each scenario is run on both, and its facts are compared. Where they differ, the embedded host is wrong.
"""

import asyncio
import json
import random
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from .graphs import Graph
from .hosts import KINDS, Host, comfyui_path

# The embedded host follows this version.
FOLLOWED = (0, 33)
NO_COMFYUI = "no ComfyUI on this machine"

Facts = Any
Scenario = Callable[["Watched"], Facts]

PACK = '''
"""Writes down what goes through the seams, and brings a few nodes of its own."""

import gc, json, math, os, threading
import execution, folder_paths
from comfy_api.latest import ComfyExtension, io, ui
from comfy_execution import progress
from comfy_execution.graph_utils import ExecutionBlocker, GraphBuilder
from comfy_execution.utils import get_executing_context
from server import PromptServer

LOG = os.path.join(folder_paths.get_user_directory(), "seams.jsonl")
LOCK = threading.Lock()
FAULT = os.path.join(folder_paths.get_user_directory(), "fault")
NAN = math.nan
COLLECTED = []


def collected(phase, info):
    if phase == "start" and info["generation"] == 2 and "prompt_worker" in threading.current_thread().name:
        COLLECTED.append(1)


gc.callbacks.append(collected)


def break_if_asked(seam):
    if os.path.exists(FAULT):
        with open(FAULT, encoding="utf-8") as file:
            if file.read() == seam:
                raise RuntimeError(f"fault in {seam}")


def note(seam, **facts):
    thread = threading.current_thread()
    where = "worker" if "prompt_worker" in thread.name else "main" if thread is threading.main_thread() else "other"
    with LOCK, open(LOG, "a", encoding="utf-8") as file:
        file.write(json.dumps({"seam": seam, "on": where, **facts}) + "\\n")


class Watcher(progress.ProgressHandler):
    def __init__(self):
        super().__init__("seams")
        self.registry = None

    def set_registry(self, registry):
        self.registry = registry

    def tell(self, what, node_id, state, prompt_id, **more):
        graph = self.registry.dynprompt
        if node_id is not None and graph.has_node(node_id):
            more["display"] = graph.get_display_node_id(node_id)
            more["parent"] = graph.get_parent_node_id(node_id)
            more["root"] = graph.get_real_node_id(node_id)
            more["class_type"] = graph.get_node(node_id)["class_type"]
        more.setdefault("value", state["value"])
        note(what, prompt_id=prompt_id, node_id=node_id, state=state["state"].value, max=state["max"], **more)

    def start_handler(self, node_id, state, prompt_id):
        self.tell("start", node_id, state, prompt_id)
        break_if_asked("start")

    def update_handler(self, node_id, value, max_value, state, prompt_id, image=None):
        self.tell("update", node_id, state, prompt_id, value=value)
        break_if_asked("update")

    def finish_handler(self, node_id, state, prompt_id):
        self.tell("finish", node_id, state, prompt_id)
        break_if_asked("finish")


def wrap(owner, name, before=None, after=None):
    original = getattr(owner, name)

    def wrapped(self, *args, **kwargs):
        if before is not None:
            before(self, *args, **kwargs)
        result = original(self, *args, **kwargs)
        if after is not None:
            after(self, *args, **kwargs)
        return result

    setattr(owner, name, wrapped)


def on_put(self, item):
    number, prompt_id, prompt, extra, outputs, sensitive = item
    extra = {key: type(value).__name__ for key, value in extra.items()}
    note("put", prompt_id=prompt_id, nodes=sorted(prompt), extra=extra, outputs=sorted(outputs), sensitive=sensitive,
         number=type(number).__name__)
    break_if_asked("put")


def on_message(self, event, data, broadcast):
    kept = {key: value for key, value in data.items() if key not in ("traceback", "current_inputs", "executed")}
    kept["has"] = sorted(data)
    if "current_outputs" in kept:
        kept["current_outputs"] = sorted(name for name in kept["current_outputs"] if "." not in name)
    note("message", event=event, broadcast=broadcast, executed=sorted(data.get("executed", [])), **kept)
    break_if_asked(event)
    if event == "execution_cached":
        progress.add_progress_handler(Watcher())


def on_done(self, item_id, history_result, **kwargs):
    running = self.currently_running[item_id]
    status = kwargs["status"]
    note("task_done", prompt_id=running[1], keywords=sorted(kwargs), status=[status.status_str, status.completed],
         outputs=sorted(history_result["outputs"]), item=len(running))
    break_if_asked("task_done")


wrap(execution.PromptQueue, "put", before=on_put)
wrap(execution.PromptQueue, "task_done", before=on_done)
wrap(execution.PromptQueue, "wipe_queue", before=lambda self: note("wipe_queue", waiting=len(self.queue)))
wrap(execution.PromptQueue, "delete_queue_item", before=lambda self, function: note(
    "delete_queue_item", waiting=len(self.queue), matching=sum(map(function, self.queue))))
wrap(execution.PromptExecutor, "add_message", after=on_message)


def on_prompt(data):
    note("on_prompt", keys=sorted(data))
    if "tell_gc" in data:
        note("collected", times=len(COLLECTED))
        COLLECTED.clear()
    if data.get("trouble"):
        raise RuntimeError("handler")
    return data


PromptServer.instance.add_on_prompt_handler(on_prompt)


class Always:
    """Says by what each kind of fingerprint runs again."""

    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = (), "run", True, "seams"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": (["nan", "one nan", "constant", "raises"],)}, "optional": {"source": ("*",)}}

    @classmethod
    def IS_CHANGED(cls, kind, source=None):
        if kind == "raises":
            raise ValueError("no fingerprint")
        return {"nan": float("nan"), "one nan": NAN, "constant": "same"}[kind]

    def run(self, kind, source=None):
        return {"ui": {"text": [kind]}}


class Checked:
    """Its own check gets the literals that its signature names."""

    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = ("STRING",), "run", True, "seams"

    @classmethod
    def INPUT_TYPES(cls):
        required = {"text": ("STRING", {}), "number": ("INT", {"min": 1, "max": 5}), "choice": (["a", "b"],)}
        return {"required": required, "optional": {"more": ("STRING", {})}, "hidden": {"id": "UNIQUE_ID"}}

    @classmethod
    def VALIDATE_INPUTS(cls, text, number, more="absent"):
        note("validate", text=text, number=number, more=more)
        return True if text != "bad" else "text is bad"

    def run(self, text, number, choice, more="absent", id=None):
        note("ran", text=text, number=number, choice=choice, more=more, id=id)
        return (text,)


class Whole:
    """Takes lists as they are."""

    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY, INPUT_IS_LIST = (), "run", True, "seams", True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"source": ("*", {})}, "optional": {"plain": ("INT", {"default": 1})}}

    def run(self, source, plain=None):
        note("ran", source=source, plain=plain)
        return {"ui": {"text": ["one"]}}


class Each:
    """Is called once for each element, and says which."""

    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = ("INT",), "run", True, "seams"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"source": ("*", {})}}

    def run(self, source):
        context = get_executing_context()
        note("ran", source=source, context=[context.node_id, context.list_index])
        return {"ui": {"text": [str(source)]}, "result": (source,)}


class Returns:
    """Gives back what nodes may, and what they may not."""

    RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = ("INT", "INT"), "run", True, "seams"

    @classmethod
    def INPUT_TYPES(cls):
        hidden = {"prompt": "PROMPT", "dynprompt": "DYNPROMPT", "info": "EXTRA_PNGINFO"}
        hidden["token"] = "AUTH_TOKEN_COMFY_ORG"
        return {"required": {"what": ("STRING", {})}, "hidden": hidden}

    def run(self, what, prompt, dynprompt, info, token):
        note("ran", what=what, prompt=sorted(prompt), dynprompt=type(dynprompt).__name__, info=info, token=token)
        blocker = ExecutionBlocker(None)
        return {
            "none": None, "tuple": (1, 2), "list": [1, 2], "short": (1,), "long": (1, 2, 3), "empty dict": {},
            "ui only": {"ui": {"text": ["t"], "more": ("u",)}}, "result none": {"result": None}, "word": "ab",
            "string ui": {"ui": {"text": "word"}, "result": (1, 2)}, "no outputs": (), "blocker": blocker,
            "number ui": {"ui": {"text": 5}, "result": (1, 2)}, "blocked result": {"result": blocker},
            "expands to nothing": {"expand": {}, "result": (1, 2)},
            "bad link": {"expand": {}, "result": (["no", 0], 2)},
            "bad class": {"expand": {"q": {"class_type": "NoSuch", "inputs": {}}}, "result": (1, 2)},
        }[what]


class Nested:
    """Expands into itself, so deep."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("INT",), "run", "seams"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"depth": ("INT", {"default": 2}), "source": ("*", {})}}

    def run(self, depth, source):
        graph = GraphBuilder()
        if depth > 0:
            inner = graph.node("Nested", depth=depth - 1, source=source)
        else:
            inner = graph.node("Each", source=source)
        return {"result": (inner.out(0),), "expand": graph.finalize()}


class NewKinds(io.ComfyNode):
    """What a V3 node may give back."""

    @classmethod
    def define_schema(cls):
        outputs = [io.Int.Output("a"), io.Int.Output("b", is_output_list=True)]
        return io.Schema(node_id="NewKinds", inputs=[io.String.Input("what")], outputs=outputs, is_output_node=True)

    @classmethod
    def execute(cls, what):
        return {
            "none": None, "tuple": (1, [2, 3]), "output": io.NodeOutput(1, [2, 3]), "number": 5,
            "dict": {"result": (1, [2]), "ui": {"text": ["t"]}}, "blocked": io.NodeOutput(block_execution="why"),
            "blocked too": io.NodeOutput(1, [2], block_execution="why"), "blocker": ExecutionBlocker("why"),
            "expands": io.NodeOutput(1, [2], expand={}), "preview": io.NodeOutput(1, [2], ui=ui.PreviewText("seen")),
            "saved": io.NodeOutput(ui=ui.SavedImages([ui.SavedResult("f", "s", io.FolderType.output)], True)),
        }[what]


class Passing(io.ComfyNode):
    """A V3 node: any type through, hidden values, optional inputs with defaults, its own check."""

    @classmethod
    def define_schema(cls):
        template = io.MatchType.Template("t")
        inputs = [
            io.MatchType.Input("after", template=template, optional=True),
            io.String.Input("prefix", default="", optional=True, multiline=False),
            io.Combo.Input("when", options=["soon", "late"], default="soon", optional=True),
            io.Boolean.Input("flag", default=False, optional=True),
            io.Int.Input("number", default=3, min=1, max=9, optional=True),
        ]
        outputs = [io.MatchType.Output(template=template, display_name="after")]
        outputs.append(io.String.Output(display_name="path"))
        return io.Schema(node_id="Passing", display_name="Passing", category="seams", inputs=inputs, outputs=outputs,
                         hidden=[io.Hidden.unique_id, io.Hidden.dynprompt], is_output_node=True)

    @classmethod
    def validate_inputs(cls, prefix="absent", after="absent"):
        note("validate", prefix=prefix, after=after)
        return "prefix leads out" if ".." in (prefix or "") else True

    @classmethod
    def fingerprint_inputs(cls, **kwargs):
        note("fingerprint", given=sorted(kwargs))
        return float("nan")

    @classmethod
    def execute(cls, after=None, prefix="default", when="default", flag=None, number=0):
        try:
            cls.kept = 1
            locked = False
        except AttributeError:
            locked = True
        hidden = [cls.hidden.unique_id, type(cls.hidden.dynprompt).__name__, type(cls.hidden.prompt).__name__,
                  cls.hidden.nonsense, cls.hidden.auth_token_comfy_org]
        note("ran", after=after, prefix=prefix, when=when, flag=flag, number=number, hidden=hidden, locked=locked)
        return io.NodeOutput(after, "path", ui={"text": ["passed"]})


class Waiting(io.ComfyNode):
    """A V3 coroutine that fails on request."""

    @classmethod
    def define_schema(cls):
        inputs = [io.Float.Input("seconds"), io.String.Input("message", default="")]
        inputs.append(io.AnyType.Input("source", optional=True))
        return io.Schema(node_id="Waiting", inputs=inputs, outputs=[io.Float.Output()], is_output_node=True)

    @classmethod
    async def execute(cls, seconds, message="", source=None):
        import asyncio
        await asyncio.sleep(seconds)
        if message:
            raise ValueError(message)
        note("ran", id=get_executing_context().node_id)
        return io.NodeOutput(seconds)


class Extension(ComfyExtension):
    async def on_load(self):
        note("on_load")

    async def get_node_list(self):
        v1 = {name: entry for name, entry in globals().items() if name in V1}
        import nodes
        nodes.NODE_CLASS_MAPPINGS.update(v1)
        return [NewKinds, Passing, Waiting]


V1 = ("Always", "Checked", "Whole", "Each", "Nested", "Returns")


async def comfy_entrypoint():
    return Extension()
'''


class Watched:
    """A host under observation: its own side of the facts, with ids that differ each time taken out."""

    def __init__(self, kind: str, base: Path) -> None:
        pack = base / "packs" / "zz_seams"
        pack.mkdir(parents=True)
        (pack / "__init__.py").write_text(textwrap.dedent(PACK), "utf-8")
        broken = base / "packs" / "broken"
        broken.mkdir()
        (broken / "__init__.py").write_text("raise RuntimeError('no')", "utf-8")
        off = base / "packs" / "off.disabled"
        off.mkdir()
        (off / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {'Off': object}", "utf-8")
        single = base / "single.py"
        single.write_text("NODE_CLASS_MAPPINGS = {}\nSEEN = __name__\n", "utf-8")
        self.host = Host(kind, base / "base", packs=[pack, broken, off], recorder=False)
        (self.host.custom_nodes / "single.py").write_bytes(single.read_bytes())
        (self.host.custom_nodes / "notes.txt").write_text("not a pack", "utf-8")
        self.log = self.host.base / "user" / "seams.jsonl"

    def seams(self, prompt_id: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        """The calls noted since a line, those of other prompts left out, the prompt's own id taken out."""
        lines = [json.loads(line) for line in self.log.read_text("utf-8").splitlines()[since:]]
        ours = [line for line in lines if line.get("prompt_id", prompt_id) == prompt_id]
        return [{key: value for key, value in line.items() if key != "prompt_id"} for line in ours]

    def mark(self) -> int:
        """Where the log ends now."""
        return len(self.log.read_text("utf-8").splitlines()) if self.log.exists() else 0

    def run(self, graph: Graph, **fields: Any) -> dict[str, Any]:
        """Queue a graph and wait for its end: the seams' calls, and what the history says."""
        since = self.mark()
        return self.followed(self.host.queue(graph, **fields), since)

    def followed(self, prompt_id: str, since: int = 0) -> dict[str, Any]:
        """The same for a prompt that is queued already."""
        entry = self.host.wait_history(prompt_id)
        self.idle()
        return {"seams": self.seams(prompt_id, since), "history": plain(entry, prompt_id)}

    def idle(self) -> None:
        """Wait until nothing runs or waits."""
        self.host.until(lambda: self.host.queued_ids() == ([], []), 20)

    def running(self, prompt_id: str, node_id: str) -> None:
        """Wait until a node of a prompt has started."""

        def there() -> bool:
            lines = [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]
            return any(
                line["seam"] == "start" and line["prompt_id"] == prompt_id and line["node_id"] == node_id
                for line in lines
            )

        self.host.until(there, 20)


def plain(entry: Any, prompt_id: str) -> Any:
    """A history entry without what differs from run to run or holds a machine's paths."""
    number, own_id, graph, extra, outputs = entry["prompt"]
    messages = [
        [event, sorted(data), data.get("node_id"), data.get("exception_message"), data.get("current_inputs")]
        for event, data in entry["status"]["messages"]
    ]
    return {
        "keys": sorted(entry),
        "prompt": [type(number).__name__, own_id == prompt_id, sorted(graph), sorted(extra), sorted(outputs)],
        "outputs": entry["outputs"],
        "meta": entry["meta"],
        "status": [entry["status"]["status_str"], entry["status"]["completed"]],
        "messages": messages,
    }


def told(observed: dict[str, Any], *seams: str) -> list[tuple[str, Any]]:
    """The order of some seams' calls, with their nodes."""
    return [(line["seam"], line.get("node_id")) for line in observed["seams"] if line["seam"] in seams]


SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    """Name a scenario after its function."""
    SCENARIOS[function.__name__] = function
    return function


def salted(**inputs: Any) -> Graph:
    """A graph with one slow output node `a` that no earlier prompt has cached."""
    graph = Graph()
    graph.add("ProbeSlow", id="a", **{"seconds": 0, "steps": 1, "salt": random.random(), **inputs})
    return graph


def chain(folder: str = "") -> Graph:
    """A picture, turned round, saved."""
    graph = Graph()
    image = graph.image()
    graph.save(graph.add("ImageInvert", image=image), f"{folder or 'agree'}/{uuid.uuid4().hex[:8]}/a")
    return graph


def hide_names(observed: dict[str, Any]) -> dict[str, Any]:
    """A run's facts without the random folder that its saver wrote to."""
    for shown in observed["history"]["outputs"].values():
        for image in shown.get("images", []):
            image["subfolder"] = image["subfolder"].split("/")[0]
    return observed


# --- prompts that end well ---


@scenario
def headless_chain(watched: Watched) -> Facts:
    return hide_names(watched.run(chain()))


@scenario
def chain_of_a_client(watched: Watched) -> Facts:
    return hide_names(watched.run(chain(), client_id="somebody", extra_data={"extra_pnginfo": {"workflow": {}}}))


@scenario
def cached_repeat(watched: Watched) -> Facts:
    graph = chain()
    first = watched.run(graph)
    return [hide_names(first), hide_names(watched.run(graph)), len(list(watched.host.output.rglob("a_*.png"))) > 0]


@scenario
def cached_after_other_prompts(watched: Watched) -> Facts:
    """Whether a result outlives a prompt that doesn't have its node."""
    graphs = [salted(), salted(), salted()]
    order = [0, 1, 0, 1, 2, 0, 2, 1, 0]
    return [told(watched.run(graphs[i]), "start", "finish") for i in order]


@scenario
def long_chain(watched: Watched) -> Facts:
    graph = Graph()
    link = graph.add("ProbeNumber", number=random.randrange(10**9))
    for _ in range(500):
        link = graph.add("ProbeSlow", source=link, seconds=0, steps=1)
    observed = watched.run(graph)
    return observed["history"]["status"], [node_id for seam, node_id in told(observed, "start")]


@scenario
def half_cached(watched: Watched) -> Facts:
    graph = chain()
    watched.run(graph)
    graph.add("ImageInvert", id="again", image=["1", 0])
    graph.add("PreviewAny", id="text", source="hello")
    graph.save(["again", 0], f"agree/{uuid.uuid4().hex[:8]}/b")
    return sorted(told(watched.run(graph), "start", "finish"), key=str)


@scenario
def equal_nodes_run_once(watched: Watched) -> Facts:
    graph = Graph()
    salt = random.random()
    for node_id in ("a", "b"):
        graph.add("ProbeSlow", id=node_id, seconds=0, steps=1, salt=salt)
    observed = watched.run(graph)
    return [seam for seam, _ in told(observed, "start", "finish")]


@scenario
def list_mapped(watched: Watched) -> Facts:
    graph = Graph()
    numbers = graph.add("ProbeList", id="list", count=3)
    graph.add("Each", id="each", source=numbers)
    graph.add("Whole", id="whole", source=["each", 0], plain=4)
    return watched.run(graph)


@scenario
def mapped_over_nothing(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("Each", id="each", source=graph.add("ProbeList", id="list", count=0))
    observed = watched.run(graph)
    return told(observed, "start", "finish"), observed["history"]["status"], observed["history"]["messages"][-1][:4]


@scenario
def progress_in_steps(watched: Watched) -> Facts:
    """One step at once, a hundred in a moment (only first and last are told), four slow ones (all are)."""
    runs = [(0.0, 1), (0.0, 100), (0.6, 4)]
    facts = []
    for seconds, steps in runs:
        observed = watched.run(salted(seconds=seconds, steps=steps))
        facts.append([(line["value"], line["max"]) for line in observed["seams"] if line["seam"] == "update"])
    return facts


@scenario
def progress_of_a_plain_thread(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("ProbeThreadProgress", id="a", seconds=0, steps=1, salt=random.random())
    headless = watched.run(graph)
    graph["a"]["inputs"]["salt"] = random.random()
    return headless, watched.run(graph, client_id="somebody")


@scenario
def lazy_wanted(watched: Watched) -> Facts:
    graph = salted()
    graph.add("ProbeLazy", id="lazy", use=True, source=["a", 0])
    del graph["a"]["inputs"]["seconds"], graph["a"]["inputs"]["steps"]
    graph["a"]["inputs"] |= {"seconds": 0, "steps": 1}
    graph["a"]["class_type"] = "ProbeString"
    graph["a"]["inputs"] = {"text": str(random.random())}
    return told(watched.run(graph), "start", "update", "finish")


@scenario
def lazy_not_wanted(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("ProbeString", id="a", text=str(random.random()))
    graph.add("ProbeLazy", id="lazy", use=False, source=["a", 0])
    return told(watched.run(graph), "start", "update", "finish")


@scenario
def async_nodes_overlap(watched: Watched) -> Facts:
    graph = Graph()
    for node_id, seconds in (("long", 0.6), ("short", 0.3)):
        graph.add("Waiting", id=node_id, seconds=seconds, message="", source=str(random.random()))
    observed = watched.run(graph)
    order = told(observed, "start", "finish")
    return sorted(order[:2]), order[2:], observed["history"]["status"]


@scenario
def async_mapped_over_a_list(watched: Watched) -> Facts:
    graph = Graph()
    numbers = graph.add("ProbeList", id="list", count=3)
    graph.add("Waiting", id="wait", seconds=0.1, source=numbers, message="")
    return told(watched.run(graph), "start", "finish", "ran")


@scenario
def async_that_fails(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("Waiting", id="fails", seconds=0.1, message="broke", source=str(random.random()))
    graph.add("Waiting", id="goes on", seconds=0.6, message="", source=str(random.random()))
    observed = watched.run(graph)
    time.sleep(0.7)
    return (
        sorted(told(observed, "start", "finish")),
        observed["history"]["messages"][-1],
        observed["history"]["status"],
    )


@scenario
def expansion(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("Each", id="last", source=graph.add("Nested", id="x", depth=2, source=random.random()))
    observed = watched.run(graph)
    for line in observed["seams"]:
        line.pop("source", None)
    observed["history"].pop("outputs")
    return observed


@scenario
def expansion_over_a_list(watched: Watched) -> Facts:
    graph = Graph()
    numbers = graph.add("ProbeList", id="list", count=2)
    graph.add("Each", id="last", source=graph.add("Nested", id="x", depth=0, source=numbers))
    observed = watched.run(graph)
    return sorted(told(observed, "start", "finish")), sorted(observed["history"]["outputs"])


@scenario
def expansion_with_savers(watched: Watched) -> Facts:
    graph = Graph()
    prefix = f"agree/{uuid.uuid4().hex[:8]}/x"
    fields = {"filename_prefix": prefix, "seconds": 0, "salt": random.random()}
    graph.add("ProbeExpand", id="x", source=graph.image(), **fields)
    first = watched.run(graph)
    graph.add("PreviewAny", id="text", source=str(random.random()))
    again = watched.run(graph)
    files = sorted(path.name for path in (watched.host.output / prefix).parent.iterdir())
    return (
        [sorted(told(run, "start", "finish"), key=str) for run in (first, again)],
        [sorted(run["history"]["outputs"]) for run in (first, again)],
        files,
    )


@scenario
def failure_inside_an_expansion(watched: Watched) -> Facts:
    graph = Graph()
    fields = {"filename_prefix": "", "seconds": 0, "salt": random.random(), "fail": True}
    graph.add("ProbeExpand", id="x", source="words", **fields)
    return watched.run(graph), told(watched.run(graph), "start", "finish")


@scenario
def circle_made_by_an_expansion(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("ProbeCycle", id="x")
    observed = watched.run(graph)
    error = [line for line in observed["seams"] if line["seam"] == "message"][-1]
    return error, observed["history"]["status"], told(observed, "start", "finish")


@scenario
def v3_node_and_its_inputs(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("Passing", id="bare")
    graph.add(
        "Passing", id="wired", after=graph.add("ProbeNumber", id="n", number=5), prefix="p", number=2, when="late"
    )
    graph.add("ProbeTypeName", id="type", filename="agree.txt", value=["wired", 0])
    observed = watched.run(graph)
    again = watched.run(graph)
    ran = [line for line in observed["seams"] if line["seam"] in ("ran", "validate", "fingerprint")]
    by_text = sorted(json.dumps(line, sort_keys=True) for line in ran)
    return by_text, sorted(told(again, "start", "finish")), sorted(observed["history"]["outputs"])


@scenario
def fingerprints(watched: Watched) -> Facts:
    facts = {}
    for kind in ("nan", "one nan", "constant", "raises"):
        graph = Graph()
        graph.add("Always", id="a", kind=kind)
        facts[kind] = [told(watched.run(graph), "start", "finish") for _ in range(2)]
    return facts


@scenario
def blockers(watched: Watched) -> Facts:
    facts = []
    for message in ("", "because"):
        graph = Graph()
        blocked = graph.add("ProbeBlocker", id="block", message=message, source=random.random())
        graph.save(blocked, "agree/blocked")
        facts.append(watched.run(graph))
    return facts


@scenario
def object_info_of_a_v3_node(watched: Watched) -> Facts:
    info = watched.host.node_class("Passing")
    assert info is not None
    return {
        key: info[key] for key in ("input", "input_order", "output", "output_name", "output_node", "name", "category")
    }


# --- prompts that end badly ---


@scenario
def failure(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("ProbeFail", id="f", message="broke", source=graph.image())
    facts = watched.run(graph)
    for message in facts["history"]["messages"]:
        message[4] = sorted(message[4]) if message[4] else message[4]
    return facts


@scenario
def interrupt(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("ProbeSlow", id="slow", seconds=20, steps=200, salt=random.random())
    since = watched.mark()
    prompt_id = watched.host.queue(graph)
    watched.running(prompt_id, "slow")
    other = watched.host.request("POST", "/interrupt", {"prompt_id": str(uuid.uuid4())}).status
    still = watched.host.queued_ids()[0] == [prompt_id]
    own = watched.host.request("POST", "/interrupt", {"prompt_id": prompt_id}).status
    entry = watched.host.wait_history(prompt_id, 10)
    seams = [line for line in watched.seams(prompt_id, since) if line["seam"] != "update"]
    return other, still, own, seams, plain(entry, prompt_id)


@scenario
def interrupt_during_the_last_node(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("ProbeSleepNoProgress", id="slow", seconds=0.8, salt=random.random())
    prompt_id = watched.host.queue(graph)
    watched.running(prompt_id, "slow")
    watched.host.interrupt()
    first = watched.host.wait_history(prompt_id)["status"]["status_str"]
    return first, watched.run(salted())["history"]["status"]


@scenario
def interrupt_while_idle(watched: Watched) -> Facts:
    watched.host.interrupt()
    return watched.run(salted())["history"]["status"]


@scenario
def cancelling_jobs(watched: Watched) -> Facts:
    slow = watched.host.queue(salted(seconds=20, steps=200))
    watched.running(slow, "a")
    waiting = watched.host.queue(salted())
    since = watched.mark()
    jobs = [waiting, waiting, slow, str(uuid.uuid4())]
    answers = []
    for job in jobs:
        reply = watched.host.request("POST", f"/api/jobs/{job}/cancel", {})
        answers.append([reply.status, reply.body])
    entry = watched.host.wait_history(slow, 10)
    return answers, entry["status"]["status_str"], calls_on_queue(watched, since), watched.host.history(waiting)


def calls_on_queue(watched: Watched, since: int) -> list[dict[str, Any]]:
    """What went through the two seams by which prompts leave the queue unrun."""
    return [line for line in watched.seams(None, since) if line["seam"] in ("wipe_queue", "delete_queue_item")]


@scenario
def queue_deletes(watched: Watched) -> Facts:
    slow = watched.host.queue(salted(seconds=20, steps=200))
    watched.running(slow, "a")
    ids = [watched.host.queue(salted()) for _ in range(4)]
    since = watched.mark()
    watched.host.delete_queued(ids[1])
    left = watched.host.queued_ids()[1] == [ids[0], ids[2], ids[3]]
    watched.host.clear_queue()
    last = watched.host.queue(salted())
    watched.host.delete_queued(last, str(uuid.uuid4()))
    seen = calls_on_queue(watched, since)
    watched.host.interrupt()
    watched.host.wait_history(slow, 10)
    return left, seen, watched.host.queued_ids()


@scenario
def order_of_the_queue(watched: Watched) -> Facts:
    slow = watched.host.queue(salted(seconds=20, steps=200))
    watched.running(slow, "a")
    wishes: list[dict[str, Any]] = [{}, {"front": True}, {"number": -1000}, {"number": 0.5}, {}]
    numbers, ids = [], []
    for wish in wishes:
        status, body = watched.host.post(salted(), **wish)
        ids.append(body["prompt_id"])
        numbers.append([status, type(body["number"]).__name__, body["number"] < 0])
    since = watched.mark()
    watched.host.interrupt()
    watched.idle()
    lines = [json.loads(line) for line in watched.log.read_text("utf-8").splitlines()[since:]]
    started = [line["prompt_id"] for line in lines if line.get("event") == "execution_start"]
    return numbers, [ids.index(prompt_id) for prompt_id in started]


@scenario
def history_in_slices(watched: Watched) -> Facts:
    assert watched.host.request("POST", "/history", {"clear": True}).status == 200
    ids = [watched.host.queue(salted()) for _ in range(4)]
    watched.idle()
    watched.host.wait_history(ids[-1])
    queries = ("max_items=2", "max_items=2&offset=1", "offset=2", "max_items=9", "max_items=1&offset=0", "offset=9")
    slices = [[ids.index(key) for key in watched.host.get(f"/history?{query}")[1]] for query in queries]
    assert watched.host.request("POST", "/history", {"delete": ids[:3]}).status == 200
    left = watched.host.get("/history")[1]
    return slices, list(left) == ids[3:], watched.host.get(f"/history/{uuid.uuid4()}")


# --- prompts that are refused ---


def answer(watched: Watched, graph: Any, **fields: Any) -> Facts:
    """Status and body of a post, without words that only people read; nothing is left in the queue."""
    status, body = watched.host.post(graph, **fields)
    watched.idle()
    if not isinstance(body, dict):
        return status, None
    errors = {
        node_id: [
            entry["class_type"],
            sorted(entry["dependent_outputs"]),
            sorted([e["type"], e["extra_info"].get("input_name"), brief(e)] for e in entry["errors"]),
        ]
        for node_id, entry in body["node_errors"].items()
    }
    error = body.get("error")
    return (
        status,
        errors,
        error and [error["type"], sorted(error["extra_info"]), bool(error["message"])],
        sorted(body),
    )


def brief(error: dict[str, Any]) -> Any:
    """The parts of an input's error that programs read."""
    extra = error["extra_info"]
    kept = {
        key: extra[key] for key in ("received_value", "received_type", "linked_node", "cycle_nodes") if key in extra
    }
    custom = error["details"] if error["type"] == "custom_validation_failed" else None
    return json.dumps([sorted(extra), kept, custom], default=str)


def saver(**inputs: Any) -> dict[str, Any]:
    return {"class_type": "SaveImage", "inputs": inputs}


@scenario
def refused_requests(watched: Watched) -> Facts:
    good = salted()
    facts: list[Facts] = [watched.host.post(good, prompt_id=bad)[0] for bad in ("x", "", 5, str(uuid.uuid4()).upper())]
    own = str(uuid.uuid4())
    facts.append(watched.host.post(salted(), prompt_id=own)[1]["prompt_id"] == own)
    facts.append(answer(watched, {}))
    facts.append(watched.host.request("POST", "/prompt", {"no": "prompt"}).status)
    facts.append(watched.host.request("POST", "/prompt", {"no": "prompt"}).body["error"]["type"])
    facts.append(answer(watched, {"1": {"class_type": "NoSuchNode", "inputs": {}}}))
    facts.append(answer(watched, {"1": {"inputs": {}, "_meta": {"title": "T"}}}))
    facts.append(answer(watched, {"1": {"class_type": "EmptyImage", "inputs": {}}}))
    facts.append(answer(watched, salted(), partial_execution_targets=["nowhere"]))
    return facts


@scenario
def refused_inputs(watched: Watched) -> Facts:
    image = {"width": 8, "height": 8, "batch_size": 1, "color": 0}
    cases: list[dict[str, Any]] = [
        {"1": saver()},
        {"1": saver(images=["2", 0], filename_prefix="p"), "2": {"class_type": "EmptyImage", "inputs": {}}},
        {
            "1": saver(images=["2", 0], filename_prefix="p"),
            "2": {"class_type": "ProbeNumber", "inputs": {"number": 1}},
        },
        {"1": saver(images=["2", 0], filename_prefix="p")},
        {"1": saver(images=["2", 7], filename_prefix="p"), "2": {"class_type": "EmptyImage", "inputs": image}},
        {"1": saver(images=["2", 0, 0], filename_prefix="p"), "2": {"class_type": "EmptyImage", "inputs": image}},
    ]
    for wrong in ({"width": 0}, {"width": 10**9}, {"width": "x"}, {"width": None}, {"width": "8"}, {"color": 1.7}):
        node = {"class_type": "EmptyImage", "inputs": image | wrong}
        cases.append({"1": saver(images=["2", 0], filename_prefix="agree/in"), "2": node})
    return [answer(watched, case) for case in cases]


@scenario
def refused_by_the_node_itself(watched: Watched) -> Facts:
    inputs: list[dict[str, Any]] = [
        {"text": "bad", "number": 99, "choice": "a"},
        {"text": "good", "number": 99, "choice": "a"},
        {"text": "good", "number": 1, "choice": "z"},
        {"text": 5, "number": "3", "choice": "b", "more": "x"},
        {"number": 1, "choice": "a"},
        {"text": ["s", 0], "number": 1, "choice": "a"},
    ]
    since = watched.mark()
    facts: list[Facts] = []
    for given in inputs:
        graph = {"c": {"class_type": "Checked", "inputs": given}}
        if given.get("text") == ["s", 0]:
            graph["s"] = {"class_type": "ProbeString", "inputs": {"text": "bad"}}
        facts.append(answer(watched, graph))
    facts.append(answer(watched, {"p": {"class_type": "Passing", "inputs": {"prefix": "../x", "when": "never"}}}))
    facts.append(answer(watched, {"p": {"class_type": "Passing", "inputs": {"number": 10}}}))
    seen = [line for line in watched.seams(None, since) if line["seam"] == "validate"]
    ran = [line for line in watched.seams(None, since) if line["seam"] == "ran"]
    return facts, seen, ran


@scenario
def one_output_refused_and_one_good(watched: Watched) -> Facts:
    graph = salted()
    graph.add("Passing", id="p", prefix="../out")
    graph.add("SaveImage", id="s", filename_prefix="p")
    status, body = watched.host.post(graph)
    entry = watched.host.wait_history(body["prompt_id"])
    return status, sorted(body["node_errors"]), plain(entry, body["prompt_id"])


@scenario
def partial_execution(watched: Watched) -> Facts:
    graph = salted()
    graph.add("ProbeSlow", id="b", seconds=0, steps=1, salt=random.random())
    return watched.run(graph, partial_execution_targets=["b"])


@scenario
def circle_in_the_posted_graph(watched: Watched) -> Facts:
    graph = Graph()
    for node_id, source in (("a", "b"), ("b", "c"), ("c", "b")):
        graph.add("ProbeString" if node_id == "x" else "ProbeFail", id=node_id, message="m", source=[source, 0])
    return answer(watched, graph)[0]


@scenario
def handlers_of_posted_prompts(watched: Watched) -> Facts:
    since = watched.mark()
    status, body = watched.host.post(salted(), trouble=True)
    watched.host.wait_history(body["prompt_id"])
    return status, [line for line in watched.seams(None, since) if line["seam"] == "on_prompt"]


# --- the other routes ---


@scenario
def who_may_ask(watched: Watched) -> Facts:
    own = f"127.0.0.1:{watched.host.port}"
    headers = [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://elsewhere.example"},
        {"Origin": f"http://{own}"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {"Origin": "http://elsewhere.example", "Host": "render.example"},
    ]
    return [watched.host.request("GET", "/prompt", headers=extra).status for extra in headers]


@scenario
def looking_at_files(watched: Watched) -> Facts:
    (watched.host.output / "agree_view").mkdir(exist_ok=True)
    (watched.host.output / "agree_view" / "x.txt").write_text("seen", "utf-8")
    (watched.host.output / "agree_view" / "x.html").write_text("<b>", "utf-8")
    queries = [
        "filename=x.txt&subfolder=agree_view",
        "filename=x.html&subfolder=agree_view",
        "filename=x.txt&subfolder=agree_view&type=input",
        "filename=x.txt&subfolder=agree_view&type=user",
        "filename=../x.txt",
        "filename=/etc/hostname",
        "filename=x.txt&subfolder=../../",
        "filename=x.txt&subfolder=/etc",
        "filename=",
        "subfolder=agree_view",
        "filename=agree_view",
    ]
    replies = [watched.host.request("GET", f"/view?{query}") for query in queries]
    return [[reply.status, (reply.headers.get("Content-Type") or "").split(";")[0]] for reply in replies[:2]], [
        reply.status for reply in replies[2:]
    ]


@scenario
def savers_count_on(watched: Watched) -> Facts:
    root = watched.host.output / f"count{uuid.uuid4().hex[:8]}"
    root.mkdir()
    for name in ("a_00004_.exr", "a_7_00001_.png", "b_100000_.png", "c_x_.png"):
        (root / name).write_bytes(b"")
    (root / "d_00003_folder").mkdir()
    prefixes = ("a", "b", "c", "d", "./e", "f//g", "h/../i", "%width%x%height%", "j_%batch_num%", "k%unknown%")
    for prefix in prefixes:
        graph = Graph()
        graph.save(graph.image(batch_size=2, width=8, height=4), f"{root.name}/{prefix}")
        watched.run(graph)
    ends = []
    for prefix in ("../x", "/etc/x", ""):
        graph = Graph()
        graph.save(graph.image(), prefix)
        ends.append(watched.run(graph)["history"]["status"])
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*")), ends


@scenario
def shape_of_the_machine(watched: Watched) -> Facts:
    body = watched.host.get("/system_stats")[1]
    device = body["devices"][0]
    return sorted(body["system"]), sorted(device), device["type"], device["index"], watched.host.get("/prompt")


@scenario
def packs_that_load(watched: Watched) -> Facts:
    names = ("Passing", "Each", "ProbeSlow", "Off")
    loads = [line for line in watched.seams() if line["seam"] == "on_load"]
    info = [watched.host.node_class(name) for name in names]
    return [entry and entry["python_module"] for entry in info], loads


@scenario
def routes_under_api(watched: Watched) -> Facts:
    paths = (
        "/api/prompt",
        "/api/queue",
        "/api/history",
        "/api/object_info/SaveImage",
        "/api/system_stats",
        "/api/nowhere",
    )
    return [watched.host.request("GET", path).status for path in paths]


@scenario
def what_the_page_hears(watched: Watched) -> Facts:
    return [asyncio.run(heard(watched, graph)) for graph in (chain(), failing_at_once(), nested())]


def failing_at_once() -> Graph:
    graph = Graph()
    graph.add("ProbeFail", id="f", message="broke")
    return graph


def nested() -> Graph:
    graph = Graph()
    graph.add("Each", id="last", source=graph.add("Nested", id="x", depth=0, source=random.random()))
    return graph


async def heard(watched: Watched, graph: Graph) -> Facts:
    """The messages that a client gets while its prompt runs, but for those that say how long the queue is."""
    client, messages = uuid.uuid4().hex, []
    url = f"{watched.host.url}/ws?clientId={client}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        first = (await socket.receive_json(timeout=10))["data"]
        body = {"prompt": graph, "client_id": client}
        async with session.post(f"{watched.host.url}/prompt", json=body) as reply:
            assert reply.status == 200
        while True:
            message = await socket.receive_json(timeout=20)
            data = message["data"]
            if message["type"] not in ("status", "progress_state"):
                messages.append([message["type"], sorted(data), data.get("node"), data.get("display_node")])
            elif message["type"] == "progress_state":
                messages.append([message["type"], {k: v | {"prompt_id": 0} for k, v in data["nodes"].items()}])
            if message["type"] == "executing" and data["node"] is None:
                return sorted(first), first["sid"] == client, messages


@scenario
def secrets_of_a_request(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("Returns", id="r", what="tuple")
    extra = {"auth_token_comfy_org": "secret", "api_key_comfy_org": "key", "extra_pnginfo": {"a": 1}, "other": 5}
    return watched.run(graph, extra_data=extra)


@scenario
def what_nodes_give_back(watched: Watched) -> Facts:
    words = ["none", "tuple", "list", "short", "long", "empty dict", "ui only", "string ui", "number ui", "blocker"]
    words += ["blocked result", "result none", "no outputs", "word", "expands to nothing", "bad link", "bad class"]
    facts = {}
    for word in words:
        graph = Graph()
        graph.add("PreviewAny", id="p", source=graph.add("Returns", id="r", what=word))
        graph.add("PreviewAny", id="q", source=["r", 1])
        facts[word] = outcome(watched.run(graph))
    return facts


@scenario
def what_v3_nodes_give_back(watched: Watched) -> Facts:
    words = ["none", "tuple", "output", "number", "dict", "blocked", "blocked too", "blocker", "expands", "preview"]
    facts = {}
    for word in [*words, "saved"]:
        graph = Graph()
        graph.add("PreviewAny", id="p", source=graph.add("NewKinds", id="r", what=word))
        graph.add("PreviewAny", id="q", source=["r", 1])
        facts[word] = outcome(watched.run(graph))
    return facts


def outcome(observed: dict[str, Any]) -> Facts:
    """How a run ended, without the order of nodes that don't depend on each other."""
    history = observed["history"]
    last = history["messages"][-1]
    kind = [line.get("exception_type") for line in observed["seams"] if line["seam"] == "message"][-1]
    return history["status"], last[0], kind, history["outputs"], sorted(told(observed, "start", "finish"))


@scenario
def previews_of_anything(watched: Watched) -> Facts:
    graph = Graph()
    for number, source in enumerate(
        [5, 2.5, True, "text", None, {"a": [1, None]}, {"__value__": [1, 2]}, {"__value__": []}]
    ):
        graph.add("PreviewAny", id=str(number), source=source)
    return watched.run(graph)["history"]["outputs"]


@scenario
def the_same_id_twice(watched: Watched) -> Facts:
    own = str(uuid.uuid4())
    first = watched.run(salted(), prompt_id=own)
    graph = Graph()
    graph.add("ProbeFail", id="f", message="broke")
    watched.host.queue(graph, prompt_id=own)
    watched.idle()
    time.sleep(0.2)
    return first["history"]["status"], plain(watched.host.history(own), own)["status"]


@scenario
def requests_of_any_shape(watched: Watched) -> Facts:
    bodies: list[Any] = [[], "x", {"prompt": []}, {"prompt": "x"}, {"prompt": {"1": 5}}, {"prompt": None}]
    bodies += [{"prompt": {"1": {"class_type": "SaveImage"}}}, {"prompt": {"1": {"class_type": ["x"], "inputs": {}}}}]
    bodies += [{"prompt": salted(), "number": "x"}]
    statuses = [watched.host.request("POST", "/prompt", body).status for body in bodies]
    others = [
        ("/queue", {"delete": [5, None]}),
        ("/queue", []),
        ("/history", {"delete": ["x"]}),
        ("/interrupt", None),
    ]
    others += [("/interrupt", {"prompt_id": 5}), ("/free", {}), ("/api/jobs/x/cancel", {})]
    statuses += [watched.host.request("POST", path, body).status for path, body in others]
    gets = (
        "/history?max_items=x",
        "/history?max_items=0",
        "/history?max_items=-1",
        "/history?offset=x",
        "/object_info/No",
    )
    return statuses, [watched.host.request("GET", path).status for path in gets]


@scenario
def uploads(watched: Watched) -> Facts:
    return asyncio.run(uploaded(watched))


async def uploaded(watched: Watched) -> Facts:
    """Some uploads, good and bad; what they were answered, and what lies in the input folder after."""
    folder = f"up{uuid.uuid4().hex[:6]}"
    tries: list[dict[str, str]] = [{}, {}, {"overwrite": "true"}, {"subfolder": "../../x"}, {"subfolder": "/etc"}]
    tries += [{"type": "temp"}, {"name": "../escape.png"}, {"subfolder": f"{folder}/deep/.."}]
    answers = []
    async with aiohttp.ClientSession() as session:
        for number, fields in enumerate(tries):
            form = aiohttp.FormData()
            content = b"same" if number < 2 else b"other"
            form.add_field("image", content, filename=fields.get("name", "a.png"), content_type="image/png")
            for key, value in ({"subfolder": folder} | fields).items():
                if key != "name":
                    form.add_field(key, value)
            async with session.post(f"{watched.host.url}/upload/image", data=form) as reply:
                body = await reply.json() if reply.status == 200 else {}
                answers.append([reply.status, {k: v.replace(folder, "F") for k, v in body.items()}])
    files = sorted(
        path.relative_to(watched.host.base / "input").as_posix() for path in (watched.host.base / "input").rglob("*")
    )
    return answers, [name.replace(folder, "F") for name in files if folder in name or "escape" in name]


@scenario
def garbage_after_a_prompt(watched: Watched) -> Facts:
    """The first prompt for 10 s is followed by a collection, the next is not, unless memory is to be freed."""
    counts = []
    watched.host.request("POST", "/free", {"free_memory": True})
    for _ in range(3):
        time.sleep(0.5)
        since = watched.mark()
        prompt_id = watched.host.queue(salted(), tell_gc=True)
        watched.host.wait_history(prompt_id)
        counts.append([line["times"] > 0 for line in watched.seams(None, since) if line["seam"] == "collected"])
        if len(counts) == 2:
            watched.host.request("POST", "/free", {"unload_models": True})
    return counts


@scenario
def faults_that_are_survived(watched: Watched) -> Facts:
    """`put` answers 500, `start` fails the node, `update` is raised in the node's own progress call."""
    facts: list[Facts] = []
    fault = watched.host.base / "user" / "fault"
    for seam in ("put", "start", "update"):
        fault.write_text(seam, "utf-8")
        try:
            status, body = watched.host.post(salted())
            facts.append([status, outcome(watched.followed(body["prompt_id"])) if status == 200 else None])
        finally:
            fault.unlink()
    return facts


# --- the end of the worker: last, for each needs a new process ---


def lethal(watched: Watched, seam: str) -> Facts:
    """A fault in one seam: what is seen of it, and what becomes of this prompt and the next."""
    watched.host.restart()
    fault = watched.host.base / "user" / "fault"
    fault.write_text(seam, "utf-8")
    since = watched.mark()
    try:
        prompt_id = watched.host.queue(salted())
        time.sleep(1.5)
    finally:
        fault.unlink()
    after = watched.host.queue(salted())
    time.sleep(0.5)
    seen = watched.seams(prompt_id, since)
    return seen, watched.host.queued_ids() == ([prompt_id], [after]), watched.host.history(prompt_id)


@scenario
def fault_in_a_finish_handler(watched: Watched) -> Facts:
    return lethal(watched, "finish")


@scenario
def fault_in_add_message(watched: Watched) -> Facts:
    return [lethal(watched, event) for event in ("execution_start", "execution_success")]


@scenario
def fault_in_task_done(watched: Watched) -> Facts:
    return lethal(watched, "task_done")


@scenario
def a_node_that_exits(watched: Watched) -> Facts:
    graph = Graph()
    graph.add("ProbeSystemExit", id="x")
    watched.host.restart()
    since = watched.mark()
    prompt_id = watched.host.queue(graph)
    watched.running(prompt_id, "x")
    time.sleep(0.5)
    seen = watched.seams(prompt_id, since)
    after = watched.host.queue(salted())
    time.sleep(0.5)
    return seen, watched.host.queued_ids() == ([prompt_id], [after]), watched.host.history(prompt_id)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dict[str, Facts]]]:
    """Runs a scenario on both hosts, started once each."""
    if comfyui_path() is None:
        pytest.skip(NO_COMFYUI)
    hosts = {kind: Watched(kind, tmp_path_factory.mktemp(f"agree-{kind}")) for kind in KINDS}
    try:
        for watched in hosts.values():
            watched.host.start()
        version = hosts["real"].host.version
        if version[:2] < FOLLOWED:
            pytest.skip(f"ComfyUI {version} is older than what the embedded host follows")
        yield lambda name: {kind: as_json(SCENARIOS[name](watched)) for kind, watched in hosts.items()}
    finally:
        for watched in hosts.values():
            watched.host.stop()


def as_json(facts: Facts) -> Facts:
    """Tuples as lists, so that a difference reads well."""
    return json.loads(json.dumps(facts))


def differences(embedded: Facts, real: Facts, path: str = "") -> list[str]:
    """Where the facts differ, one line each: pytest's own report of two deep lists shows little."""
    if isinstance(embedded, dict) and isinstance(real, dict) and embedded.keys() == real.keys():
        return [line for key in embedded for line in differences(embedded[key], real[key], f"{path}.{key}")]
    if isinstance(embedded, list) and isinstance(real, list) and len(embedded) == len(real):
        return [
            line
            for i, pair in enumerate(zip(embedded, real, strict=True))
            for line in differences(*pair, f"{path}[{i}]")
        ]
    return [] if embedded == real else [f"{path}: embedded {embedded!r}, real {real!r}"]


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_both_hosts_show_the_same(name: str, facts: Callable[[str], dict[str, Facts]]) -> None:
    shown = facts(name)
    found = differences(shown["embedded"], shown["real"])
    assert not found, "\n".join(found)
