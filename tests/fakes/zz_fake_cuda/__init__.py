"""Makes a processor-only ComfyUI believe that torch has CUDA devices, with an allocator that nodes script.

FAKE_CUDA holds the devices as JSON: index, name, total, and what this torch tells of uuid and pci_bus_id.
"""

import json
import os
import sys
import time
import types

import comfy.model_management as management
import comfy.utils

DEVICES = json.loads(os.environ.get("FAKE_CUDA", "[]"))


class Allocator:
    """Torch's caching allocator, as far as its counters show."""

    def __init__(self):
        self.current = self.peak = self.reserved = self.reserved_peak = 0
        self.resets = 0

    def allocate(self, more):
        self.current += more
        self.peak = max(self.peak, self.current)
        self.reserved = max(self.reserved, self.current)
        self.reserved_peak = max(self.reserved_peak, self.reserved)

    def reset(self):
        self.peak, self.reserved_peak = self.current, self.reserved
        self.resets += 1

    def stats(self):
        def of(current, peak):
            return {"all": {"current": current, "peak": peak}}

        return {
            "allocated_bytes": of(self.current, self.peak),
            "active_bytes": of(self.current, self.peak),
            "reserved_bytes": of(self.reserved, self.reserved_peak),
        }


allocators = [Allocator() for _ in DEVICES]


def number(device):
    return getattr(device, "index", device) or 0


def flat(device=None):
    found = allocators[number(device)].stats()
    return {f"{name}.all.{kind}": value for name, kinds in found.items() for kind, value in kinds["all"].items()}


def mem_get_info(device=None):
    total = DEVICES[number(device)]["total"]
    return total - allocators[number(device)].reserved, total


def properties(device=None):
    about = dict(DEVICES[number(device)])
    return types.SimpleNamespace(total_memory=about.pop("total"), **about)


def install():
    torch = sys.modules.get("torch")
    if torch is None:
        torch = sys.modules["torch"] = types.ModuleType("torch")
        torch.cuda, torch.version = types.ModuleType("torch.cuda"), types.SimpleNamespace(hip=None)
        torch.device = management.Device
    cuda = torch.cuda
    cuda.memory_stats_as_nested_dict = lambda device=None: allocators[number(device)].stats()
    cuda.reset_peak_memory_stats = lambda device=None: allocators[number(device)].reset()
    cuda.memory_stats, cuda.mem_get_info, cuda.get_device_properties = flat, mem_get_info, properties
    cuda.current_device = lambda: 0
    cuda.get_device_name = lambda device=None: DEVICES[number(device)]["name"]
    devices = [torch.device("cuda", n) for n in range(len(DEVICES))]
    management.get_torch_device = lambda: devices[0]
    management.get_all_torch_devices = lambda exclude_current=False: devices[int(exclude_current) :]


class FakeCudaWork:
    """Allocates and frees as told: a list of [bytes, seconds], each step's bytes first."""

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"steps": ("STRING", {"default": "[]"})},
            "optional": {
                "source": ("*",),
                "fail": ("BOOLEAN", {"default": False}),
                "salt": ("FLOAT", {"default": 0.0}),
            },
        }

    RETURN_TYPES = ("*",)
    FUNCTION = "run"
    CATEGORY = "probe"
    OUTPUT_NODE = True

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    def run(self, steps, source=None, fail=False, salt=0.0):
        told = json.loads(steps)
        bar = comfy.utils.ProgressBar(len(told))
        for more, seconds in told:
            allocators[0].allocate(more)
            time.sleep(seconds)
            bar.update(1)
        if fail:
            raise RuntimeError("it ran out of memory")
        return (source,)


NODE_CLASS_MAPPINGS = {"FakeCudaWork": FakeCudaWork}
if DEVICES:
    install()
