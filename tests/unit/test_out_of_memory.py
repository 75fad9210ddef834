"""What torch and the drivers say when memory is out, in the words of several vendors, allocators and versions."""

import pytest
from run_recorder.telemetry.why.out_of_memory import OutOfMemory, out_of_memory

GIB, MIB = 2**30, 2**20
TORCH_2 = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.69 GiB of which 1.25 GiB is "
    "free. Process 1234 has 512.00 MiB memory in use. Process 99 has 1.50 GiB memory in use. Including non-PyTorch "
    "memory, this process has 20.50 GiB memory in use. Of the allocated memory 19.00 GiB is allocated by PyTorch, and "
    "1.25 GiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting "
    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
TORCH_1 = (
    "CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 7.79 GiB total capacity; 6.50 GiB already allocated; "
    "12.50 MiB free; 6.75 GiB reserved in total by PyTorch) If reserved memory is >> allocated memory try setting "
    "max_split_size_mb to avoid fragmentation."
)
ASYNC = (
    "Allocation on device 0 would exceed allowed memory. (out of memory)\n"
    "Currently allocated     : 21.25 GiB\nRequested               : 2.00 GiB\n"
    "Device limit            : 23.69 GiB\nFree (according to CUDA): 20.00 MiB\n"
    "PyTorch limit (set by user-supplied memory fraction)\n                        : 17179869184.00 GiB"
)
HIP = (
    "HIP out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 15.98 GiB of which 512.00 MiB is "
    "free. Of the allocated memory 14.00 GiB is allocated by PyTorch, and 256.00 MiB is reserved by PyTorch but "
    "unallocated."
)
MPS = (
    "MPS backend out of memory (MPS allocated: 17.50 GB, other allocations: 112.00 MB, max allowed: 18.13 GB). "
    "Tried to allocate 576.00 MB on private pool. Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit."
)
XPU = (
    "XPU out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.11 GiB. "
    "Of the allocated memory 3.25 GiB is allocated by PyTorch, and 42.00 MiB is reserved by PyTorch but unallocated."
)
DIRECTML = "Could not allocate tensor with 10485760 bytes. There is not enough GPU video memory available!"


def gib(number: float) -> int:
    return round(number * GIB)


@pytest.mark.parametrize(
    ("kind", "message", "told"),
    [
        (
            "torch.OutOfMemoryError",
            TORCH_2,
            OutOfMemory(False, 2 * GIB, gib(1.25), gib(23.69), 19 * GIB, gib(20.25), 2 * GIB),
        ),
        (
            "torch.cuda.OutOfMemoryError",
            TORCH_1,
            OutOfMemory(False, 20 * MIB, round(12.5 * MIB), gib(7.79), gib(6.5), gib(6.75), None),
        ),
        (
            "torch.OutOfMemoryError",
            ASYNC,
            OutOfMemory(False, 2 * GIB, 20 * MIB, gib(23.69), gib(21.25), None, None),
        ),
        (
            "torch.OutOfMemoryError",
            HIP,
            OutOfMemory(False, gib(1.5), 512 * MIB, gib(15.98), 14 * GIB, gib(14.25), None),
        ),
        ("RuntimeError", MPS, OutOfMemory(False, 576 * MIB, None, gib(18.13), gib(17.5), None, None)),
        (
            "torch.OutOfMemoryError",
            XPU,
            OutOfMemory(False, 20 * GIB, None, gib(15.11), gib(3.25), gib(3.25) + 42 * MIB, None),
        ),
        ("RuntimeError", DIRECTML, OutOfMemory(False, 10_485_760)),
        ("torch.OutOfMemoryError", "Allocation on device", OutOfMemory()),
        ("RuntimeError", "CUDA error: out of memory\nCUDA kernel errors might be asynchronously", OutOfMemory()),
        ("OutOfMemoryError", "", OutOfMemory()),
        (
            "RuntimeError",
            "[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 34359738368 bytes. Error code 12 (Cannot allocate memory)",
            OutOfMemory(True, 32 * GIB),
        ),
        ("MemoryError", "", OutOfMemory(True)),
        (
            "numpy.core._exceptions._ArrayMemoryError",
            "Unable to allocate 7.45 GiB for an array with shape (1000, 1000, 1000)",
            OutOfMemory(True, gib(7.45)),
        ),
        ("OSError", "The paging file is too small for this operation to complete. (os error 1455)", OutOfMemory(True)),
    ],
)
def test_each_wording_is_read(kind: str, message: str, told: OutOfMemory) -> None:
    assert out_of_memory(kind, message) == told


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ValueError", "the picture is out of bounds"),
        ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied"),
        (None, ""),
        ("RuntimeError", "CUDA error: an illegal memory access was encountered"),
        ("KeyError", "'memory'"),
    ],
)
def test_another_error_is_another_error(kind: str | None, message: str) -> None:
    assert out_of_memory(kind, message) is None


@pytest.mark.parametrize("number", ["9" * 400, "9" * 16, "1.2.3", "9" * 5 + "." + "9" * 50])
def test_an_absurd_number_is_none(number: str) -> None:
    found = out_of_memory("torch.OutOfMemoryError", f"CUDA out of memory. Tried to allocate {number} GiB.")
    assert found is not None and (found.asked_bytes is None or found.asked_bytes < 2**80)


def test_a_long_message_is_read_soon() -> None:
    assert out_of_memory("RuntimeError", "Process 1 has 1 " * 100_000) is None
    assert out_of_memory("torch.OutOfMemoryError", "tried to allocate 9 " * 100_000) == OutOfMemory()
    assert out_of_memory("torch.OutOfMemoryError", "9" * 1_000_000) == OutOfMemory()
