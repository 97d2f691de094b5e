"""One job in this process: trained, measured under the noise of all others, never done twice; stopped and continued (slow)."""

import json
import shutil
import subprocess
import time

import pytest
import torch

from benchmark import DONE, INTERRUPTED
from benchmark.ablation.likelihood import measured, variants, with_config
from benchmark.ablation.one_training import JOB_LOCK, carry_out, share_tokens
from benchmark.ablation.plan import Evaluation
from benchmark.ablation.pool import COMMAND
from medim.common.errors import UserError
from medim.common.locks import held
from medim.data.tokens.cache import TokenSplit, tokenise_split
from medim.pipeline import MeDiMPipeline


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, plan_in):
    jobs = plan_in(tmp_path_factory.mktemp("ablation"), ["no-adaln"], [0]).jobs
    assert [carry_out(job) for job in jobs] == [DONE, DONE]
    return jobs


def test_two_arms_are_measured_on_the_same_pairs_and_the_tokens_are_made_once(jobs):
    full, other = (json.loads((job.folder / "evaluation.json").read_text()) for job in jobs)
    for key in ("settings", "patients", "report_tokens", "image_tokenizer", "report_tokenizer"):
        assert full[key] == other[key]
    assert full["nats"] != other["nats"]
    assert full["training"]["tokens_seen"] == 2 * 4 * (64 + 48)
    assert all((job.folder / "cache").resolve() == (job.out / "cache").resolve() for job in jobs)
    tokens = list((jobs[0].out / "cache").rglob("*.arrow"))
    assert len(tokens) == 2  # one file of training pairs, one of validation pairs


def test_what_is_done_is_not_done_again(jobs, phantom):
    before = {path: path.stat().st_mtime_ns for job in jobs for path in job.folder.glob("*.*")}
    assert [carry_out(job) for job in jobs] == [DONE, DONE]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not jobs[0].missing(phantom.fingerprint)


def test_a_cache_that_was_removed_is_made_again(tmp_path, plan_in, phantom):
    (job,) = plan_in(tmp_path, ["full"], [0]).jobs
    job.folder.mkdir(parents=True)
    for _ in range(2):
        share_tokens(job, phantom, tmp_path / "cache")
        assert list((job.folder / "cache").rglob("*.arrow"))
        shutil.rmtree(tmp_path / "cache")


def test_a_measurement_is_repeated_to_the_digit_and_follows_its_seed(jobs, phantom):
    pipeline = MeDiMPipeline.from_pretrained(jobs[0].folder, "cpu")
    settings = jobs[0].evaluation
    split = tokenise_split(phantom, "val", pipeline.images, pipeline.reports, limit=settings.pairs)
    stored = json.loads((jobs[0].folder / "evaluation.json").read_text())["nats"]
    again = measured(pipeline, phantom, split, settings)["nats"]
    for condition, nats in stored.items():
        torch.testing.assert_close(torch.tensor(again[condition]), torch.tensor(nats))
    another = measured(pipeline, phantom, split, Evaluation(settings.pairs, settings.draws, seed=1))["nats"]
    assert another["joint"] != stored["joint"]


def test_a_folder_that_is_worked_on_is_left_alone(jobs, plan_in):
    job = plan_in(jobs[0].out, ["full"], [1]).jobs[0]
    with held(job.folder, JOB_LOCK), pytest.raises(UserError, match="being worked on by another process"):
        carry_out(job)


def test_switching_a_part_changes_what_the_model_says_and_nothing_else(jobs, phantom):
    pipeline = MeDiMPipeline.from_pretrained(jobs[0].folder, "cpu")
    model = pipeline.model
    with torch.no_grad():  # modulation of a model that has trained for two steps is as good as none
        for name, weight in model.named_parameters():
            if "modulation" in name:
                weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(0))
    split = tokenise_split(phantom, "val", pipeline.images, pipeline.reports, limit=2)
    found = {}
    for name, each in variants(model):
        pipeline.model = each.eval()
        found[name] = measured(pipeline, phantom, TokenSplit(**vars(split)), Evaluation(2, 2))["nats"]["joint"]
    assert list(found) == ["as trained", "causal mask on", "timestep held at 0.5", "timestep off (no modulation)"]
    assert len({json.dumps(nats) for nats in found.values()}) == 4
    pipeline.model = with_config(model).eval()
    assert measured(pipeline, phantom, split, Evaluation(2, 2))["nats"]["joint"] == found["as trained"]


@pytest.mark.slow
def test_a_process_whose_parent_stops_saves_and_continues_to_the_same_weights(tmp_path, plan_in):
    job, whole = (plan_in(tmp_path / name, ["full"], [0], steps=60).jobs[0] for name in ("stopped", "whole"))
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, text=True)
    process.stdin.write(job.to_json() + "\n")
    process.stdin.flush()
    while not (job.folder / "metrics.jsonl").exists():
        time.sleep(0.05)
    process.stdin.close()
    assert process.wait(120) == INTERRUPTED
    assert list(job.folder.glob("checkpoint-*"))
    assert not (job.folder / "training.json").exists()
    assert carry_out(job) == carry_out(whole) == DONE
    one, other = (MeDiMPipeline.from_pretrained(each.folder, "cpu").model.state_dict() for each in (job, whole))
    assert all(torch.equal(one[name], other[name]) for name in one)
