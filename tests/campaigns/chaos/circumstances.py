"""What may be wrong around a command: disk, folders, environment, names, and files that mean harm. Each gives its faults."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.campaigns.chaos.kills import CACHE, clear, leftovers
from tests.campaigns.chaos.world import COMMANDS, REPOSITORY, Command, World, write_pairs

BY_OUT = {command.out: command for command in COMMANDS}
RUN, QUICK = BY_OUT["run"], tuple(BY_OUT[out] for out in ("pairs", "model", "export", "store"))
FORMS = ("folder", "llava", "r2gen", "webdataset", "huggingface", "parquet")
EXPORT = "export --pairs {pairs} --data {pairs} --features pixels --allow near-copies"
SIDE, SECONDS, MEGABYTES = 30_000, 60, 1500  # of the huge picture, and what it may cost
Done = subprocess.CompletedProcess[str]


class SkippedError(Exception):
    """This cannot be tried here, and why."""


def disk_full(world: World) -> Iterator[str]:
    """Half of the space that the folder takes: one line; then enough, and the same command continues."""
    for command in COMMANDS:
        pages = sum(
            -(-path.stat().st_size // 4096) for path in (world.root / "whole" / command.out).rglob("*") if path.is_file()
        )
        with mounted(world.root / command.out, "-t", "tmpfs", "-o", f"size={pages * 2}k", "tmpfs") as place:
            done = world.call(*command.arguments)
            yield from told_in_one_line(command.name, done, "No space left", "no space left", "GB are needed")
            mount("-o", "remount,size=1g", place)
            yield from equal(world, command, world.call(*command.arguments))
        clear(world, command)


def read_only(world: World) -> Iterator[str]:
    """Inputs that cannot be written: no matter. An --out or a cache that cannot: one line."""
    with mounted(world.root / "whole", "--bind", world.root / "whole") as place:
        mount("-o", "remount,ro,bind", place)
        for command in (*QUICK, RUN):
            yield from equal(world, command, world.call(*command.arguments))
            clear(world, command)
    for command, place in (*((command, command.out) for command in QUICK), (RUN, CACHE)):
        with mounted(world.root / place, "-t", "tmpfs", "-o", "ro", "tmpfs"):
            yield from told_in_one_line(command.name, world.call(*command.arguments), "Read-only")
        clear(world, command)


def no_home(world: World) -> Iterator[str]:
    """Without HOME, for a user whom the machine does not know, as in a container: it works, or names what to set."""
    subprocess.run(["chmod", "-R", "a+rwX", world.root], check=True)
    nobody = {"user": _stranger(), "HOME": None, "USER": None, "LOGNAME": None}
    for command in (*QUICK, RUN):
        yield from equal(world, command, world.call(*command.arguments, **nobody))
        clear(world, command)
    if nobody["user"] is None:  # the home of this user, which the machine knows, is not ours to write to
        return
    done = world.call(*RUN.arguments, MEDIM_BENCH_CACHE=None, **nobody)
    if done.returncode:
        yield from told_in_one_line("run without a cache", done, "MEDIM_BENCH_CACHE", "--cache")
    clear(world, RUN)


def _stranger() -> int | None:
    """Number of a user whom nobody knows, where this process may become one and Python is readable for everybody."""
    unknown = 54321
    if os.geteuid() != 0:
        return None
    try:
        subprocess.run([sys.executable, "-c", ""], user=unknown, group=unknown, extra_groups=[], check=True, cwd="/", env={})
    except (OSError, subprocess.CalledProcessError):
        return None
    return unknown


def turkish(world: World) -> Iterator[str]:
    """tr_TR.UTF-8, whose capital i has a dot; and a terminal of ASCII alone."""
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for values in ({"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"}, ascii_alone):
        for command in QUICK:
            yield from equal(world, command, world.call(*command.arguments, **values))
            clear(world, command)


def closed_output(world: World) -> Iterator[str]:
    """stdout closed, and stdout and stderr both: the work is done. A full stdout: no traceback."""
    for command in QUICK:
        for shut in (">&-", ">&- 2>&-"):
            yield from equal(world, command, world.call(*command.arguments, shell=shut))
            clear(world, command)
        done = world.call(*command.arguments, shell=">/dev/full")
        if "Traceback" in done.stderr or "Exception ignored" in done.stderr:
            yield f"{command.name} >/dev/full: {last(done)}"
        clear(world, command)


def odd_names(world: World) -> Iterator[str]:
    """Spaces, newlines and quotes in folders, ids, patients and names of images."""
    odd, out = "odd \n'name", "odd \n'name/o u t "  # the model's name is that of its folder, in it
    rows = pairs_in(world.root / odd / "src")
    for index, row in enumerate(rows):
        image = f"images/a b\n{index}\t'.png"
        (world.root / odd / "src" / row["image"]).rename(world.root / odd / "src" / image)
        row |= {"id": f"a b\n{index}", "patient": f"=p\n\t{index}", "image": image}
    write_rows(world.root / odd / "src/pairs.jsonl", rows)
    names = {name: f"{out}/{name}" for name in ("pairs", "model", "run", "score", "export", "store")}
    yield from all_work(
        world,
        "data prepare folder --root {odd}/src --out {pairs}",
        "train model --preset model.yaml --steps 10 --data {pairs} --tokenizer whole/tokenizer --out {model}",
        "run report-generation --model {model} --data {pairs} --out {run}",
        "score report-generation --predictions {run}/samples/report-generation/model --data {pairs} --out {score}",
        EXPORT + " --format folder --out {export}",
        "leaderboard add {run} --to {store}",
        odd=odd,
        **names,
    )
    kept = world.root / names["export"] / "pairs.jsonl"
    if not kept.is_file() or len(set(kept.read_text().splitlines())) != len(rows):
        yield "not all pairs came back from the export"


def huge_picture(world: World) -> Iterator[str]:
    """A PNG of some kB that says it has 900 million pixels: lost and named, in little time and memory."""
    pairs_in(world.root / "huge")
    write_huge(world.root / "huge/images/5.png")
    (world.root / "predicted").mkdir(exist_ok=True)
    shutil.copy(world.root / "huge/images/5.png", world.root / "predicted/s5.png")
    for line in (
        "data prepare folder --root huge --workers 2 --out huge-pairs",
        "data check huge --out huge-check",
        "run report-generation --model whole/model --data huge --out huge-run",
        "score image-generation --predictions predicted --data whole/pairs --out huge-score",
    ):
        done = world.measured(*line.split())
        if done.seconds > SECONDS or done.megabytes > MEGABYTES:
            yield f"{line}: {done.seconds:.0f} s, {done.megabytes} MB"
        if done.status != 3 or "failures.jsonl" not in done.output or "Traceback" in done.output:
            yield from told_in_one_line(line, Done(line, done.status, "", done.output), "5.png", "s5")


def paths_upwards(world: World) -> Iterator[str]:
    """`../` in ids and image paths: refused and named, or kept inside --out."""
    rows = pairs_in(world.root / "upwards")
    for index, row in enumerate(rows):
        row |= {"id": f"../../escape-{index}", "patient": f"../../p{index}", "study": f"../{index}"}
    write_rows(world.root / "upwards/pairs.jsonl", rows)
    (world.root / "bad").mkdir()
    write_rows(world.root / "bad/pairs.jsonl", [{**rows[0], "image": "../upwards/images/0.png"}])
    write_rows(world.root / "bad/predictions.jsonl", [{"id": "s5", "image": "../upwards/images/0.png"}])
    before = everything(world)
    yield from all_work(
        world,
        "data prepare folder --root upwards --out inside/pairs",
        "run image-generation report-generation --model whole/model --data upwards --out inside/run",
        *(f"{EXPORT} --format {form} --out inside/{form}" for form in FORMS),
        pairs="upwards",
    )
    yield from (f"written outside --out: {path}" for path in sorted(everything(world) - before))
    for line in (
        "data prepare folder --root bad --out inside/bad",
        "data check bad",
        "score image-generation --predictions bad --data whole/pairs --out inside/score",
    ):
        yield from told_in_one_line(line, world.call(*line.split()), "outside")


def remote_code(world: World) -> Iterator[str]:
    """`auto_map` in a model, its tokenizers, a backbone, another system's model: its code is never run."""
    model, other, ran = world.root / "mapped", world.root / "other", world.root / "code-was-run"
    shutil.copytree(world.root / "whole/model", model)
    shutil.copytree(model / "report_tokenizer", other)
    backbone = json.loads((model / "config.json").read_text())["backbone"]
    (other / "config.json").write_text(json.dumps({**backbone, "architectures": ["LlamaForCausalLM"]}))
    (other / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "Evil"}))
    kinds = ("Config", "Model", "ModelForCausalLM", "ModelForImageTextToText", "Processor", "ImageProcessor")
    mapped = {**{f"Auto{kind}": "evil.Evil" for kind in kinds}, "AutoTokenizer": ["evil.Evil", None]}
    for folder in (model, model / "image_tokenizer", model / "report_tokenizer", other):
        (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\nclass Evil: pass\n")
        for file in folder.glob("*config.json"):
            file.write_text(json.dumps({**json.loads(file.read_text()), "auto_map": mapped}))
    for line in (
        "run report-generation --model ./mapped --data whole/pairs --out mapped-run",
        "run report-generation --model transformers:./other --data whole/pairs --out mapped-other",
        "train model --preset model.yaml --set backbone=./other --set pretrained=true --data whole/pairs "
        "--tokenizer whole/tokenizer --steps 2 --out mapped-model",
    ):
        done = world.call(*line.split())
        if ran.exists():
            yield f"{line}: the code of the checkpoint was run"
            ran.unlink()
        if done.returncode:
            yield from told_in_one_line(line, done, "")


CIRCUMSTANCES: tuple[Callable[[World], Iterator[str]], ...] = (
    disk_full,
    read_only,
    no_home,
    turkish,
    closed_output,
    odd_names,
    huge_picture,
    paths_upwards,
    remote_code,
)


# --- what they share ---------------------------------------------------------------------------------------------------------


def told_in_one_line(name: str, done: Done, *words: str) -> Iterator[str]:
    """Faults of a command that had to stop: another status, a traceback, several errors, none of the words."""
    errors = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.startswith(("error: ", "Usage:"))]
    if done.returncode in (0, 3, -9):
        yield f"{name}: status {done.returncode}, though it cannot have worked: {last(done)}"
    elif "Traceback" in done.stderr or "Exception ignored" in done.stderr or len(errors) != 1:
        yield f"{name}: {len(errors)} lines of error, and: {last(done)}"
    elif not any(word in errors[0] for word in words):
        yield f"{name}: tells something else: {errors[0][:200]}"


def equal(world: World, command: Command, done: Done) -> Iterator[str]:
    """Faults of a command that had to do all its work."""
    if done.returncode:
        yield f"{command.name}: status {done.returncode}: {last(done)}"
    else:
        yield from (f"{command.name}: {line}" for line in leftovers(world, command))


def all_work(world: World, *lines: str, **names: str) -> Iterator[str]:
    """Faults of commands given as lines, whose {NAMES} may hold anything."""
    for line in lines:
        done = world.call(*(word.format(**names) for word in line.split()))
        if done.returncode:
            yield f"{line}: status {done.returncode}: {last(done)}"


def last(done: Done) -> str:
    return " / ".join(done.stderr.replace("\r", "\n").strip().splitlines()[-2:])[-300:]


def everything(world: World) -> set[Path]:
    """All that is in the world and beside it, but for the cache and what the commands were told to write."""
    found = {path for path in world.root.rglob("*") if path.relative_to(world.root).parts[0] not in (CACHE, "inside", "tmp")}
    return found | set(world.root.parent.iterdir()) | set(REPOSITORY.iterdir())


def pairs_in(folder: Path) -> list[dict[str, str]]:
    write_pairs(folder, 24)
    return [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]


def write_rows(file: Path, rows: list[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_huge(path: Path) -> None:
    """A grey PNG of SIDE x SIDE pixels, all zero."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze = zlib.compressobj(1)
    data = b"".join([squeeze.compress(bytes(100 * (1 + SIDE))) for _ in range(SIDE // 100)]) + squeeze.flush()
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


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
