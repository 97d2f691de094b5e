"""The doctor on what the project does: report metrics, feature spaces, models, data sets and their checkers."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from benchmark.doctor.finding import BROKEN, MISSING, NOTE, READY, Check, Finding, ask
from medim.common.errors import UserError

REPORTS, IMAGES, MODELS, DATA, OTHERS = "Report metrics", "Image metrics", "Models", "Data sets", "Of other packages"
OLDEST_JAVA = 8
SMOLLM2 = Path("weights") / "smollm2"
TESTED = "the packages' versions in constraints.txt, with which this project is tested: pip install -c constraints.txt"
SCORING = "pip install 'medim-bench[scoring]'"


def java_command() -> str:
    """How Java is installed on this system."""
    if sys.platform == "darwin":
        return "Java 8 or newer: brew install openjdk"
    if sys.platform == "win32":
        return "Java 8 or newer: winget install EclipseAdoptium.Temurin.21.JRE"
    return "Java 8 or newer: apt install default-jre-headless (Debian, Ubuntu), dnf install java-21-openjdk-headless (Fedora)"


def java_version(said: str) -> tuple[str, int] | None:
    """Version and major version of what `java -version` prints: "17.0.15" is 17, "1.8.0_292" is 8; None if it is no version."""
    match = re.search(r'version "((\d+)(?:\.(\d+))?[^"]*)"', said)
    if match is None:
        return None
    first, second = int(match[2]), match[3]
    return match[1], int(second) if first == 1 and second is not None else first


def _java() -> Finding:
    command = shutil.which("java")
    if command is None:
        return Finding(REPORTS, "Java", MISSING, "no `java` on the PATH", java_command())
    said = subprocess.run([command, "-version"], capture_output=True, text=True, check=False, timeout=60)
    found = java_version(said.stderr + said.stdout)
    if said.returncode or found is None:
        return Finding(REPORTS, "Java", BROKEN, f"`{command} -version` prints no version", java_command())
    if found[1] < OLDEST_JAVA:
        return Finding(REPORTS, "Java", BROKEN, f"{found[0]} is older than {OLDEST_JAVA}", java_command())
    return Finding(REPORTS, "Java", READY, found[0], details={"command": command})


def _report_metrics() -> Iterator[Finding]:
    java = _java()
    yield java
    yield Finding(REPORTS, "BLEU, ROUGE-L, CIDEr", READY, "built in, pycocoevalcap's values")
    without = "; until then its rules in Python stand in, and are named so"
    yield _jar("PTB tokenizer", "tokenizer/stanford-corenlp-3.4.1.jar", java, without)
    yield _jar("METEOR 1.5", "meteor/meteor-1.5.jar", java, more=_paraphrases)
    provide = "NLTK's data package `wordnet` in a folder that NLTK_DATA names"
    yield ask(REPORTS, "METEOR (medim-paper-v1)", _wordnet, provide)


def _wordnet() -> str:
    from tasks.metrics.text.meteor import installed_wordnet  # lazy: scoring

    if installed_wordnet() is None:
        raise UserError("NLTK's WordNet is not here")
    return "NLTK with WordNet"


def _clinical() -> Iterator[Finding]:
    def labeller() -> str:
        from tasks.metrics.clinical.chest_labeller import ChestLabeller  # lazy: scoring

        return f"hash {ChestLabeller().fingerprint}"

    yield ask(REPORTS, "chest labels by rules", labeller, SCORING)


def _weights() -> Iterator[Finding]:
    """Files that metrics of this process read: opened where they are, else with their sources."""
    from tasks.metrics.weights import SOURCES, place_of  # lazy: scoring

    for name, source in SOURCES.items():
        group = IMAGES if source.aligns or source.option or source.recipe else REPORTS
        if source.recipe:
            provide = f"a recipe of yours ({source.recipe}) for `metric-environment make`; weights: {source.source}"
            yield Finding(group, source.title, NOTE, f"needs an environment; no recipe is shipped; {source.licence}", provide)
        else:
            yield ask(group, source.title, partial(_opened, name), f"{place_of(name)}: {source.source} ({source.licence})")


def _opened(name: str) -> str:
    """Where a metric's files are, and what they hold."""
    from tasks.metrics.clinical.chexbert import CheXbert  # lazy: scoring
    from tasks.metrics.pair.alignment import Aligner  # lazy: scoring
    from tasks.metrics.text.bertscore import BertScore  # lazy: scoring
    from tasks.metrics.text.embeddings import SentenceEncoder, sentence_encoder_folder, text_encoder  # lazy: scoring
    from tasks.metrics.weights import SOURCES, find_weights, weights_folder  # lazy: scoring

    if weights_folder(name) is None and (name != "minilm" or text_encoder() is None):
        raise UserError("no folder is named")
    folder = sentence_encoder_folder() if name == "minilm" else find_weights(name)
    if name == "chexbert":
        return f"{folder}, hash {CheXbert(folder).fingerprint}"
    if name == "bertscore":
        return f"{folder}, {', '.join(f'{key} {value}' for key, value in BertScore(folder).details.items())}"
    if name == "minilm":
        return f"{folder}, hash {SentenceEncoder(folder).fingerprint}"
    if SOURCES[name].aligns:
        return f"{folder}, hash {Aligner(folder).details['aligner']}"
    return f"{folder}: {SOURCES[name].option}"


def _environments() -> Iterator[Finding]:
    """Metrics of environments: whether each is whole; it is not run."""
    from tasks.metrics.isolated import environment as isolated  # lazy: scoring

    def whole(name: str, folder: Path | None) -> str:
        if folder is None:
            raise UserError("no environment")
        signature = isolated.Environment.opened(name, folder).signature
        return f"{folder}: {', '.join(f'{key} {value}' for key, value in signature.items())}"

    for name, folder in isolated.environments().items():
        provide = str(isolated.missing(name)) if name in isolated.shipped() else ""
        yield ask(REPORTS, f"environment {name}", partial(whole, name, folder), provide)


def _jar(name: str, path: str, java: Finding, without: str = "", more: Callable[[], str] = str) -> Finding:
    """A jar of pycocoevalcap, with what `more` says of it; missing, with what happens `without` it, where there is no Java."""

    def there() -> str:
        from tasks.metrics.text.java import jar  # lazy: scoring

        return f"{jar(path).name} of pycocoevalcap{more()}"

    found = ask(REPORTS, name, there, SCORING)
    if found.state == READY and java.state != READY:
        return Finding(REPORTS, name, MISSING, f"needs Java{without}", java.provide)
    return found


def _paraphrases() -> str:
    from tasks.metrics.text.paraphrases import NAME, VERSION, cache_folder  # lazy: scoring

    indexed = sorted(cache_folder().glob(f"{NAME}-v{VERSION}-*"))
    return "; paraphrases indexed" if indexed else "; its paraphrases will be indexed at the first use, in some ten seconds"


def _feature_spaces() -> Iterator[Finding]:
    from medim.perception.efficientnet import WEIGHTS_SHA256, EfficientNetLite0Features  # lazy: start-up
    from medim.perception.inception import WEIGHTS_FILES, InceptionFeatures, find_weights  # lazy: start-up

    def embedded() -> str:
        EfficientNetLite0Features()  # it checks the file's hash
        return f"weights {WEIGHTS_SHA256[:16]}, embedded; the default space"

    yield ask(IMAGES, "efficientnet-lite0", embedded, SCORING)
    try:
        path = find_weights()
    except UserError as error:
        provide = str(error).removeprefix("Inception weights are missing: ")
        yield Finding(IMAGES, "inception (FID, IS)", MISSING, "no weights", provide)
        return

    def inception() -> str:
        space = InceptionFeatures(path)
        return f"{path}: {'the released weights, columns are called FID' if space.official else space.title}"

    yield ask(IMAGES, "inception (FID, IS)", inception, f"the released file {WEIGHTS_FILES[0]}")


def _models() -> Iterator[Finding]:
    from transformers.utils import logging

    from medim.checkpoints import shipped  # lazy: start-up
    from medim.pipeline import MeDiMPipeline  # lazy: start-up

    logging.disable_progress_bar()

    def as_shipped(name: str, folder: Path) -> str:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        found = MeDiMPipeline.from_pretrained(name, device="cpu").fingerprint
        if found != card["fingerprint"]:
            raise ValueError(f"weights {found} are not those that were shipped ({card['fingerprint']})")
        return f"shipped weights, hash {found} as on its card"

    for name, folder in sorted(shipped().items()):
        loads = ask(MODELS, name, partial(as_shipped, name, folder), "reinstall medim-bench")
        yield loads
        if loads.state == READY:
            yield ask(MODELS, f"  one sample of {name}", partial(_draws, name), TESTED)
    files = sorted(SMOLLM2.glob("*.gguf"))
    if files:
        yield Finding(MODELS, "SmolLM2-135M", READY, f"{files[0]}: --set backbone={SMOLLM2}")
    else:
        provide = "make smollm2; or the hub id HuggingFaceTB/SmolLM2-135M-Instruct, where the hub may be reached"
        yield Finding(MODELS, "SmolLM2-135M", MISSING, f"no .gguf file in {SMOLLM2}: the backbone of preset smollm2", provide)


def _draws(name: str) -> str:
    """One image and report in a few steps, as every command draws them."""
    from medim.pipeline import MeDiMPipeline  # lazy: start-up

    start = time.perf_counter()
    pipeline = MeDiMPipeline.from_pretrained(name, device="cpu")
    pipeline.configure({"image.steps": 2, "report.steps": 4})
    image, _ = pipeline.generate_pairs([""], seeds=[0])[0]
    return f"{image.width} x {image.height} pixels and a report in {time.perf_counter() - start:.1f} s on the CPU"


def _data_sets() -> Iterator[Finding]:
    from medim.data.loading import ENTRY_POINTS  # lazy: start-up

    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        if entry.name == "folder":
            yield ask(DATA, "folder", partial(_loads, entry))
        else:
            yield ask(DATA, entry.name, partial(_drawn, entry.name))
            for modality in ("image", "report"):
                yield ask(DATA, f"  its {modality} checker", partial(_checker, entry.name, modality))
    from medim.data.archives.archive import ENTRY_POINTS as ARCHIVES  # lazy: start-up

    good = []
    for entry in sorted(entry_points(group=ARCHIVES), key=lambda entry: entry.name):
        found = ask(DATA, f"archive {entry.name}", partial(_loads, entry), "pip install 'medim-bench[archives]'")
        if found.state == READY:
            good.append(entry.name)
        else:
            yield found
    yield Finding(DATA, "archives", READY, f"`data prepare` opens {', '.join(good)}; each names the packages that it needs")
    shared = os.environ.get("MEDIM_SHARED_DATA")
    if shared is not None and not Path(shared).is_dir():
        yield Finding(DATA, "real data of the tests", MISSING, f"MEDIM_SHARED_DATA names no folder: {shared}")


def _drawn(name: str) -> str:
    from medim.data.loading import load_dataset  # lazy: start-up
    from medim.pair import SPLITS  # lazy: start-up

    dataset = load_dataset(name)
    sizes = {split: dataset.size(split) for split in SPLITS}
    pair = dataset.pair(next(split for split, size in sizes.items() if size), 0)
    said = ", ".join(f"{split} {size:,}" for split, size in sizes.items())
    return f"{said}; {'synthetic' if dataset.synthetic else 'real'}; hash {dataset.fingerprint}; first pair {pair.id}"


def _checker(name: str, modality: str) -> str:
    from medim.data.loading import load_dataset  # lazy: start-up

    dataset = load_dataset(name)
    checker = dataset.image_checker() if modality == "image" else dataset.report_checker()
    if checker is None:
        raise UserError("the data set has none: finding F1 is withheld")
    return f"{checker.name}, hash {checker.fingerprint}"


def _loads(entry: EntryPoint) -> str:
    entry.load()
    return entry.value


def _others() -> Iterator[Finding]:
    """What other packages register."""
    for group in ("medim.generators", "medim.checkers", "medim.metrics", "medim.features"):
        for entry in entry_points(group=group):
            yield ask(OTHERS, f"{group}: {entry.name}", partial(_loads, entry))


CHECKS: list[Check] = [_report_metrics, _clinical, _environments, _weights, _feature_spaces, _models, _data_sets, _others]
