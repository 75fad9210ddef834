"""Makes one of the recorder's hooks raise, on request: POST /zz_faults/{hook}, and back by DELETE.

Loaded after the recorder, whose `comfyui_host.host.HOOKS` names the methods that ComfyUI's seams call.
"""

import heapq
import sys
import types

from aiohttp import web
from execution import PromptExecutor, PromptQueue
from server import PromptServer

kept = {}


def hooks():
    """The recorder's hooks by name, each with its class, wherever ComfyUI has loaded it from."""
    module = next(m for name, m in list(sys.modules.items()) if name.endswith(".comfyui_host.host"))
    return {name: cls for cls, name in module.HOOKS}


def fault(name):
    def raises(*args, **kwargs):
        raise RuntimeError(f"a fault on purpose in {name}")

    return raises


@PromptServer.instance.routes.get("/zz_faults")
async def list_hooks(request):
    return web.json_response(sorted(hooks()))


@PromptServer.instance.routes.post("/zz_faults/{name}")
async def break_hook(request):
    name = request.match_info["name"]
    cls = hooks()[name]
    kept[name] = getattr(cls, name)
    setattr(cls, name, fault(name))
    return web.json_response(len(kept))


@PromptServer.instance.routes.delete("/zz_faults/{name}")
async def mend_hook(request):
    name = request.match_info["name"]
    setattr(hooks()[name], name, kept.pop(name))
    return web.json_response(len(kept))


def deaf_add_message(self, event, data, broadcast):
    """What an extension does that replaces ComfyUI's method without calling it: the recorder hears nothing."""
    self.status_messages.append((event, dict(data)))
    if event == "execution_success":
        self.success = True


@PromptServer.instance.routes.post("/zz_faults_silence")
async def silence(request):
    kept["add_message"] = PromptExecutor.add_message
    PromptExecutor.add_message = deaf_add_message
    return web.json_response(1)


@PromptServer.instance.routes.delete("/zz_faults_silence")
async def speak(request):
    PromptExecutor.add_message = kept.pop("add_message")
    return web.json_response(0)


def full(*args):
    raise MemoryError("the queue takes no more")


@PromptServer.instance.routes.post("/zz_faults_put")
async def refuse(request):
    functions = {**vars(heapq), "heappush": full}
    sys.modules[PromptQueue.put.__module__].heapq = types.SimpleNamespace(**functions)
    return web.json_response(1)


@PromptServer.instance.routes.delete("/zz_faults_put")
async def accept(request):
    sys.modules[PromptQueue.put.__module__].heapq = heapq
    return web.json_response(0)


NODE_CLASS_MAPPINGS = {}
