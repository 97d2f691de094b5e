"""What may be wrong around a command: disk, folders, environment, names, and files that mean harm. Each gives its faults."""

import json
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.campaigns.chaos.kills import CACHE, clear, leftovers
from tests.campaigns.chaos.world import COMMANDS, REPOSITORY, Command, World, write_pairs

BY_OUT = {command.out: command for command in COMMANDS}
QUICK = tuple(BY_OUT[out] for out in ("pairs", "model", "export", "store"))
SIDE = 30_000
SECONDS_OF_A_HUGE_PICTURE, MEGABYTES_OF_A_HUGE_PICTURE = 60, 1500
Done = subprocess.CompletedProcess[str]


class SkippedError(Exception):
    """This cannot be tried here, and why."""


def disk_full(world: World) -> Iterator[str]:
    """Half of the space that the folder takes: one line; then enough, and the same command continues."""
    for command in COMMANDS:
        whole = world.root / "whole" / command.out
        pages = sum(-(-path.stat().st_size // 4096) for path in whole.rglob("*") if path.is_file())
        with mounted(world.root / command.out, "-t", "tmpfs", "-o", f"size={pages * 2}k", "tmpfs") as place:
            yield from told_in_one_line(
                command.name, world.call(*command.arguments, command.out), "No space left", "GB are needed"
            )
            mount("-o", "remount,size=1g", place)
            yield from equal(world, command, world.call(*command.arguments, command.out))
        clear(world, command)


def read_only(world: World) -> Iterator[str]:
    """Inputs that cannot be written: no matter. An --out or a cache that cannot: one line, or it goes on."""
    with mounted(world.root / "whole", "--bind", world.root / "whole") as place:
        mount("-o", "remount,ro,bind", place)
        for command in (*QUICK, BY_OUT["run"]):
            yield from equal(world, command, world.call(*command.arguments, command.out))
            clear(world, command)
    for command in QUICK:
        with mounted(world.root / command.out, "-t", "tmpfs", "-o", "ro", "tmpfs"):
            yield from told_in_one_line(
                command.name, world.call(*command.arguments, command.out), "Read-only", "read-only", "writ"
            )
        clear(world, command)
    with mounted(world.root / CACHE, "-t", "tmpfs", "-o", "ro", "tmpfs"):
        yield from told_in_one_line("run", world.call(*BY_OUT["run"].arguments, "run"), "Read-only", "writ")
    clear(world, BY_OUT["run"])


def no_home(world: World) -> Iterator[str]:
    """Without HOME, for a user whom the machine does not know, as in a container: it works, or names what to set."""
    user = 54321 if os.geteuid() == 0 else None
    subprocess.run(["chmod", "-R", "a+rwX", world.root], check=True)
    for command in (*QUICK, BY_OUT["run"]):
        done = world.call(*command.arguments, command.out, user=user, HOME=None, USER=None, LOGNAME=None)
        yield from equal(world, command, done)
        clear(world, command)
    done = world.call(*BY_OUT["run"].arguments, "run", user=user, HOME=None, USER=None, MEDIM_BENCH_CACHE=None)
    if done.returncode:
        yield from told_in_one_line("run without a cache", done, "MEDIM_BENCH_CACHE", "--cache")
    clear(world, BY_OUT["run"])


def turkish(world: World) -> Iterator[str]:
    """tr_TR.UTF-8, whose capital i has a dot; and a terminal of ASCII alone."""
    for values in (
        {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ):
        for command in QUICK:
            yield from equal(world, command, world.call(*command.arguments, command.out, **values))
            clear(world, command)


def closed_output(world: World) -> Iterator[str]:
    """stdout closed, and stdout and stderr both: the work is done. A full stdout: no traceback."""
    for command in QUICK:
        for shut in (">&-", ">&- 2>&-"):
            yield from equal(world, command, world.call(*command.arguments, command.out, shell=shut))
            clear(world, command)
        yield from no_traceback(f"{command.name} >/dev/full", world.call(*command.arguments, command.out, shell=">/dev/full"))
        clear(world, command)


def odd_names(world: World) -> Iterator[str]:
    """Spaces, newlines and quotes in folders, ids, patients and names of images."""
    odd = world.root / "odd \n'name"
    write_pairs(odd / "src", 24)
    rows = [json.loads(line) for line in (odd / "src/pairs.jsonl").read_text().splitlines()]
    for index, row in enumerate(rows):
        image = f"images/a b\n{index}\t'.png"
        (odd / "src" / row["image"]).rename(odd / "src" / image)
        row |= {"id": f"a b\n{index}", "patient": f"=p\n\t{index}", "image": image}
    (odd / "src/pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = f"odd \n'name/o u\nt {{}}"
    steps = [
        ("data", "prepare", "folder", "--root", str(odd / "src"), "--out", out.format("pairs")),
        ("train", "model", "--preset", "model.yaml", "--steps", "10", "--data", out.format("pairs"), "--tokenizer", "whole/tokenizer", "--out", out.format("model")),
        ("run", "report-generation", "--model", out.format("model"), "--data", out.format("pairs"), "--out", out.format("run")),
        ("score", "report-generation", "--predictions", out.format("run") + "/samples/report-generation/model", "--data", out.format("pairs"), "--out", out.format("score")),
        ("export", "--pairs", out.format("pairs"), "--data", out.format("pairs"), "--format", "folder", "--features", "pixels", "--allow", "near-copies", "--out", out.format("export")),
        ("leaderboard", "add", out.format("run"), "--to", out.format("store")),
    ]  # fmt: skip
    for step in steps:
        done = world.call(*step)
        if done.returncode:
            yield f"{' '.join(step[:2])}: status {done.returncode}: {last(done)}"
    kept = {json.loads(line)["id"] for line in (world.root / out.format("export") / "pairs.jsonl").read_text().splitlines()}
    if len(kept) != len(rows):
        yield f"{len(kept)} of {len(rows)} pairs came back from the export"


def huge_picture(world: World) -> Iterator[str]:
    """A PNG of 110 kB that says it has 900 million pixels: lost and named, in little time and memory."""
    write_pairs(world.root / "huge", 12)
    write_huge(world.root / "huge/images/5.png")
    work = world.root / "huge-work"
    (work / "predictions").mkdir(parents=True)
    shutil.copy(world.root / "huge/images/5.png", work / "predictions/s5.png")
    shutil.copy(world.root / "whole/pairs/pairs.jsonl", work / "pairs.jsonl")
    commands = [
        ("data", "prepare", "folder", "--root", "huge", "--workers", "2", "--out", "huge-work/pairs"),
        ("data", "check", "huge", "--out", "huge-work/check"),
        ("run", "report-generation", "--model", "whole/model", "--data", "huge", "--out", "huge-work/run"),
        (
            "score",
            "image-generation",
            "--predictions",
            "huge-work/predictions",
            "--data",
            "whole/pairs",
            "--out",
            "huge-work/score",
        ),
    ]
    for command in commands:
        done = world.measured(*command)
        name = " ".join(command[:2])
        if done.seconds > SECONDS_OF_A_HUGE_PICTURE or done.megabytes > MEGABYTES_OF_A_HUGE_PICTURE:
            yield f"{name}: {done.seconds:.0f} s, {done.megabytes} MB"
        if done.status == 3 and "failures.jsonl" in done.output and "Traceback" not in done.output:
            continue
        yield from told_in_one_line(name, Done(command, done.status, "", done.output), "5.png", "s5")


def paths_upwards(world: World) -> Iterator[str]:
    """`../` in ids and image paths: refused and named, or kept inside --out."""
    place = world.root / "upwards"
    write_pairs(place / "src", 24)
    rows = [json.loads(line) for line in (place / "src/pairs.jsonl").read_text().splitlines()]
    shutil.copy(place / "src/images/0.png", place / "outside.png")
    for index, row in enumerate(rows):
        row |= {"id": f"../../escape-{index}", "patient": f"../../p{index}", "study": f"../{index}"}
    inside = "".join(json.dumps(row) + "\n" for row in rows)
    (place / "src/pairs.jsonl").write_text(inside)
    (place / "bad/images").mkdir(parents=True)
    (place / "bad/pairs.jsonl").write_text(json.dumps({**rows[0], "image": "../outside.png"}) + "\n")
    (place / "bad/predictions.jsonl").write_text(json.dumps({"id": "s5", "image": "../outside.png"}) + "\n")
    before = everything(world)
    for step in (
        ("data", "prepare", "folder", "--root", "upwards/src", "--out", "upwards-out/pairs"),
        ("run", "image-generation", "report-generation", "--model", "whole/model", "--data", "upwards/src", "--out", "upwards-out/run"),
        *(("export", "--pairs", "upwards/src", "--data", "upwards/src", "--format", form, "--features", "pixels", "--allow", "near-copies",
           "--out", f"upwards-out/{form}") for form in ("folder", "llava", "r2gen", "webdataset", "huggingface", "parquet")),
    ):  # fmt: skip
        done = world.call(*step)
        if done.returncode:
            yield f"{' '.join(step[:2])}: status {done.returncode}: {last(done)}"
    yield from (f"written outside --out: {path}" for path in sorted(everything(world) - before))
    for step in (
        ("data", "prepare", "folder", "--root", "upwards/bad", "--out", "upwards-out/bad"),
        ("data", "check", "upwards/bad"),
        ("score", "image-generation", "--predictions", "upwards/bad", "--data", "whole/pairs", "--out", "upwards-out/score"),
    ):
        yield from told_in_one_line(" ".join(step[:2]), world.call(*step), "outside")
    shutil.rmtree(world.root / CACHE, ignore_errors=True)


def remote_code(world: World) -> Iterator[str]:
    """`auto_map` in a model, its tokenizers, a backbone, another system's model: its code is never run."""
    model = world.root / "mapped"
    shutil.copytree(world.root / "whole/model", model)
    shutil.copytree(world.root / "whole/model/report_tokenizer", world.root / "other")
    backbone = json.loads((model / "config.json").read_text())["backbone"]
    (world.root / "other/config.json").write_text(json.dumps({**backbone, "architectures": ["LlamaForCausalLM"]}))
    (world.root / "other/preprocessor_config.json").write_text(json.dumps({"image_processor_type": "Evil"}))
    ran = world.root / "code-was-run"
    for folder in (model, model / "image_tokenizer", model / "report_tokenizer", world.root / "other"):
        (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\nclass Evil: pass\n")
        names = (
            "AutoConfig",
            "AutoModel",
            "AutoModelForCausalLM",
            "AutoModelForImageTextToText",
            "AutoProcessor",
            "AutoImageProcessor",
        )
        mapped = {**dict.fromkeys(names, "evil.Evil"), "AutoTokenizer": ["evil.Evil", None]}
        for file in folder.glob("*config.json"):
            file.write_text(json.dumps({**json.loads(file.read_text()), "auto_map": mapped}))
    commands = [
        ("run", "report-generation", "--model", "./mapped", "--data", "whole/pairs", "--out", "mapped-run"),
        ("train", "model", "--preset", "model.yaml", "--set", "backbone=./other", "--set", "pretrained=true", "--data", "whole/pairs",
         "--tokenizer", "whole/tokenizer", "--steps", "2", "--out", "mapped-model"),
        ("run", "report-generation", "--model", "transformers:./other", "--data", "whole/pairs", "--out", "mapped-other"),
    ]  # fmt: skip
    for command in commands:
        done = world.call(*command)
        if ran.exists():
            yield f"{' '.join(command[:4])}: the code of the checkpoint was run"
            ran.unlink()
        if done.returncode:
            yield from told_in_one_line(" ".join(command[:4]), done, "")
    shutil.rmtree(world.root / CACHE, ignore_errors=True)


CIRCUMSTANCES: tuple[Callable[[World], Iterator[str]], ...] = (
    disk_full, read_only, no_home, turkish, closed_output, odd_names, huge_picture, paths_upwards, remote_code,
)  # fmt: skip


# --- what they share -----------------------------------------------------------------------------------------------------------


def told_in_one_line(name: str, done: Done, *words: str) -> Iterator[str]:
    """Faults of a command that had to stop: another status, a traceback, several errors, none of the words."""
    errors = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.startswith(("error: ", "Usage:"))]
    if done.returncode in (0, 3, -9):
        yield f"{name}: status {done.returncode}, though it cannot have worked: {last(done)}"
    elif "Traceback" in done.stderr or "Exception ignored" in done.stderr or len(errors) != 1:
        yield f"{name}: {len(errors)} lines of error, and: {last(done)}"
    elif not any(word in errors[0] for word in words):
        yield f"{name}: tells something else: {errors[0][:200]}"


def no_traceback(name: str, done: Done) -> Iterator[str]:
    if "Traceback" in done.stderr or "Exception ignored" in done.stderr:
        yield f"{name}: {last(done)}"


def equal(world: World, command: Command, done: Done) -> Iterator[str]:
    """Faults of a command that had to do all its work."""
    if done.returncode:
        yield f"{command.name}: status {done.returncode}: {last(done)}"
    else:
        yield from (f"{command.name}: {line}" for line in leftovers(world, command))


def last(done: Done) -> str:
    return " / ".join(done.stderr.replace("\r", "\n").strip().splitlines()[-2:])[-300:]


def everything(world: World) -> set[Path]:
    """All that is in the world and beside it, but for caches and what the commands were told to write."""
    found = {path for path in world.root.rglob("*") if path.relative_to(world.root).parts[0] not in (CACHE, "upwards-out")}
    return found | set(world.root.parent.iterdir()) | set(REPOSITORY.iterdir())


def mount(*arguments: object) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SkippedError(f"mount is not permitted: {done.stderr.strip()}")


@contextmanager
def mounted(place: Path, *arguments: object) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    mount(*arguments, place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def write_huge(path: Path) -> None:
    """A grey PNG of SIDE x SIDE pixels, all zero, written a hundred rows at a time."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze = zlib.compressobj(1)
    rows = bytes(100 * (1 + SIDE))
    data = b"".join([squeeze.compress(rows) for _ in range(SIDE // 100)]) + squeeze.flush()
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
