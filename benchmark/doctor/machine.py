"""The doctor on the machine: Python, PyTorch and its devices, memory, disk, folders, and the hub."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmark.doctor.finding import BROKEN, MISSING, NOTE, READY, Check, Finding

MACHINE, DEVICES = "This machine", "Devices"
OLDEST_PYTHON = (3, 11)
LEAST_MEMORY, LEAST_DISK = 4, 2  # GB: the demo and its page
_GB = 1 << 30
_MATRIX_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "bf16": "Arm BF16"}


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        needed = ".".join(map(str, OLDEST_PYTHON))
        yield Finding(MACHINE, "Python", BROKEN, version, f"Python {needed} or newer")
    else:
        yield Finding(MACHINE, "Python", READY, f"{version}, {platform.system()} {platform.machine()}")


def _memory() -> Iterator[Finding]:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GB
    free = available_memory()
    said = f"{total:.1f} GB" + ("" if free is None else f", {free:.1f} GB of it free")
    enough = total >= LEAST_MEMORY
    yield Finding(MACHINE, "memory", READY if enough else NOTE, said, "" if enough else f"the demo wants {LEAST_MEMORY} GB")
    cores = os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS")
    yield Finding(MACHINE, "processors", READY, f"{cores}" + (f", OMP_NUM_THREADS={threads}" if threads else ""))


def available_memory() -> float | None:
    """Available GB; None where the system does not say."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024 / _GB


def _folders() -> Iterator[Finding]:
    from benchmark.run.cache import VARIABLE, default_folder  # lazy: start-up
    from tasks.metrics.text.paraphrases import CACHE_FOLDER, cache_folder  # lazy: scoring

    yield _folder("working folder", Path.cwd(), "another working folder")
    yield _folder("shared cache", default_folder(), f"a folder that can be written to, in {VARIABLE}")
    if cache_folder() != default_folder():
        yield _folder("METEOR's index", cache_folder(), f"a folder that can be written to, in {CACHE_FOLDER}")
    yield _folder("temporary files", Path(tempfile.gettempdir()), "a folder that can be written to, in TMPDIR")


def _folder(name: str, folder: Path, provide: str) -> Finding:
    """Whether it, or the nearest folder above that exists, can be written to; and how much room there is."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(place).free / _GB
    said = f"{_short(folder)}, {free:.1f} GB free"
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Finding(MACHINE, name, BROKEN, f"{said}; it cannot be written to", provide)
    if free < LEAST_DISK:
        return Finding(MACHINE, name, NOTE, said, f"at least {LEAST_DISK} GB")
    return Finding(MACHINE, name, READY, said)


def _short(folder: Path) -> str:
    """With `~` for the home folder: what the doctor says is often pasted into an issue."""
    return str(Path("~") / folder.relative_to(Path.home())) if folder.is_relative_to(Path.home()) else str(folder)


def _hub() -> Iterator[Finding]:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    models = sorted(path.name.removeprefix("models--").replace("--", "/") for path in cache.glob("models--*"))
    said = f"{len(models)} model(s) in {_short(cache)}" + (f": {', '.join(models[:8])}" if models else "")
    yield Finding(MACHINE, "hub cache", READY if models else NOTE, said, details={"models": models})
    if constants.HF_HUB_OFFLINE:
        yield Finding(MACHINE, "hub", NOTE, "HF_HUB_OFFLINE is set: hub ids are looked for in the cache alone")
    else:
        yield Finding(MACHINE, "hub", NOTE, "hub ids may be downloaded; HF_HUB_OFFLINE=1 forbids it")


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding(DEVICES, "PyTorch", READY, f"{torch.__version__}, {torch.get_num_threads()} thread(s)")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            said = f"{properties.name}, {properties.total_memory / _GB:.0f} GB, {bf16}, CUDA {torch.version.cuda}"
            yield Finding(DEVICES, f"cuda:{index}", READY, said)
    else:
        why = "this PyTorch is built without CUDA" if torch.version.cuda is None else "no CUDA device answers"
        provide = "a CUDA build of torch, see pytorch.org" if torch.version.cuda is None else "an NVIDIA GPU and its driver"
        yield Finding(DEVICES, "cuda", MISSING, why, provide)
    if torch.backends.mps.is_available():
        yield Finding(DEVICES, "mps", READY, "Apple GPU")
    elif sys.platform == "darwin":
        yield Finding(DEVICES, "mps", MISSING, "Metal does not answer", "macOS 14 or newer on Apple silicon")
    flags = processor_flags()
    found = [name for flag, name in _MATRIX_FLAGS.items() if flag in flags]
    capability = torch.backends.cpu.get_cpu_capability()
    if found:
        yield Finding(DEVICES, "cpu", READY, f"{capability}; bf16 by {', '.join(found)}")
    else:
        yield Finding(DEVICES, "cpu", READY, f"{capability}; no bf16 units: float32 is faster here")


def processor_flags() -> frozenset[str]:
    """What Linux says of the first processor; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return frozenset()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


CHECKS: list[Check] = [_python, _memory, _folders, _hub, _devices]
