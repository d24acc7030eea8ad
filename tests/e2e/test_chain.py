"""The whole chain on a tiny world, through the command line as a user calls it: files, resuming after SIGKILL, honesty."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RECIPE = HERE / "tiny.yaml"
STAGES = ("1-world", "2-pretrain", "3-sft", "4-pairs", "5-reward", "6-rl", "7-evaluate")

NUMBERS = {"world": 1, "sft": 3, "pairs": 4}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chain")]


def start(out: Path, *overrides: str, recipe: Path = RECIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tuningfork.cli", "run", str(recipe), "--out", str(out), *overrides]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(out: Path, *overrides: str, recipe: Path = RECIPE, code: int = 0) -> str:
    process = start(out, *overrides, recipe=recipe)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code, said
    return said


def weights(out: Path, stage: str) -> bytes:
    return (out / stage / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted; it has a store of its own."""
    out = tmp_path_factory.mktemp("straight") / "run"
    said = finish(out)
    assert "report:" in said and "tuningfork chat" in said
    return out


def test_a_run_leaves_its_files(straight: Path) -> None:
    for stage in STAGES:
        for name in ("manifest.json", "card.md", "COMPLETE.json"):
            assert (straight / stage / name).is_file(), f"{stage}/{name}"
        manifest = json.loads((straight / stage / "manifest.json").read_text())
        assert manifest["status"] == "complete" and manifest["seconds"] >= 0 and manifest["versions"]["torch"]
    summary = json.loads((straight / "summary.json").read_text())
    assert summary["verdict"] in ("better", "worse", "broken", "cannot_tell")
    assert summary["seeds"] == [0] and summary["seconds"] > 0 and summary["peak_memory_mb"] > 0
    measures = {measure["name"]: measure for measure in summary["measures"]}
    assert {"gem_share", "colour_accuracy", "collateral", "perplexity"} <= measures.keys()
    for field in ("before", "after", "difference", "ci95", "p", "n", "better"):
        assert field in measures["gem_share"]
    page = (straight / "report.html").read_text()
    body = html.unescape(re.sub(r"<[^>]+>", " ", page[page.index("</style>") :]))
    cause = summary["verdict_text"].split(": ", 1)[1].rstrip(".").split(";")[0]
    assert cause.lower() in " ".join(body.split()).lower()
    assert not re.search(r'(src|href)="https?://', page), "the page must open offline"


def test_metrics_are_one_object_a_step(straight: Path) -> None:
    before, *rows = [json.loads(line) for line in (straight / "6-rl" / "metrics.jsonl").read_text().splitlines()]
    assert before["step"] == 0 and before["monitor/kl"] == 0, "what the monitor saw before the first step"
    assert [row["step"] for row in rows] == list(range(1, 17))
    for row in rows:
        assert {"seconds", "samples", "tokens", "loss", "learning_rate", "gradient_norm", "ratio_mean"} <= row.keys()
    first = rows[0]
    assert abs(first["kl"]) < 1e-3 and abs(first["ratio_mean"] - 1) < 1e-4 and first["approx_kl"] < 1e-6
    assert first["sampler_gap"] < 1e-3
    assert {"score_mean", "eos", "entropy", "explained_variance", "kl_coefficient"} <= first.keys()


PREFERENCE = """  - preference:
      data: pairs/judgements.jsonl
      method: {name: dpo, nll_coefficient: 0.1}
      adapter: {kind: lora, r: 2, targets: [all], last_layers: 1}
      epochs: 2
      batch_rows: 8
      holdout_share: 0.3
      optimizer: {learning_rate: 1.0e-3}
      replay: {data: world/replay.jsonl, rows: 4, length: 32, weight: 0.3}
      sampling: {max_new_tokens: 12}
      minimum_accuracy: 0
"""


def test_preferences_can_take_the_place_of_reward_and_rl(straight: Path, tmp_path: Path) -> None:
    text = RECIPE.read_text().replace("tiny-world.yaml", str(HERE / "tiny-world.yaml"))
    text = text[: text.index("  - reward:")] + PREFERENCE + text[text.index("  - evaluate:") :]
    text = re.sub(r"\n      reward: .*", "\n      after: preference/model", text)
    recipe, out = tmp_path / "direct.yaml", straight.with_name("direct")
    recipe.write_text(text)
    said = finish(out, "second_read=true", recipe=recipe)
    assert said.count("taken from the store") == 4 and "tuningfork chat" in said
    manifest = json.loads((out / "5-preference" / "manifest.json").read_text())
    figures = manifest["figures"]
    assert figures["verdict_text"].startswith(figures["verdict"]) and figures["verdict_text"] in " ".join(said.split())
    rows = [json.loads(line) for line in (out / "5-preference" / "metrics.jsonl").read_text().splitlines()]
    assert {"preference_loss", "margin", "accuracy", "chosen_shift", "rejected_shift", "length_gap"} <= rows[0].keys()
    assert rows[0]["preference_loss"] == pytest.approx(0.6931472, abs=1e-3) and rows[0]["start_gap_max"] < 1e-3
    summary = json.loads((out / "summary.json").read_text())
    assert summary["verdict"] in ("better", "worse", "broken", "cannot_tell")
    assert "preference" in (out / "report.html").read_text()
    assert weights(out, "5-preference") != weights(straight, "3-sft")
    command = [sys.executable, "-m", "tuningfork.cli", "chat", str(out)]
    chat = subprocess.run(
        command, input="/both\nwhat colour is the vase?\n/quit\n", capture_output=True, text=True, timeout=120
    )
    assert chat.returncode == 0 and "before  " in chat.stdout and "after   " in chat.stdout, chat.stderr


ROUNDS = """  - rejection:
      prompts: world/prompts_train.jsonl
      limit: 40
      reward: {name: learned, model: reward/model}
      samples_per_prompt: 4
      sampling: {max_new_tokens: 12}
  - sft:
      id: learnt
      model: sft/model
      data: rejection/demonstrations.jsonl
      steps: 6
      batch_rows: 8
      replay: {data: world/replay.jsonl, rows: 4, length: 32}
  - rejection:
      id: rejection2
      policy: learnt/model
      pool: rejection/candidates.jsonl
      prompts: world/prompts_train.jsonl
      limit: 40
      reward: {name: learned, model: reward/model}
      samples_per_prompt: 4
      sampling: {max_new_tokens: 12}
      select: {name: statistical, beta: 0.05, keep: 2}
  - sft:
      id: learnt2
      model: learnt/model
      data: rejection2/demonstrations.jsonl
      steps: 6
      batch_rows: 8
      replay: {data: world/replay.jsonl, rows: 4, length: 32}
  - best_of:
      policy: learnt2/model
      prompts: world/prompts_monitor.jsonl
      limit: 24
      reward: {name: learned, model: reward/model}
      samples: 4
      sampling: {max_new_tokens: 12}
      gold: {name: colours, truth: world}
"""


def test_rounds_of_rejection_sampling_can_take_the_place_of_rl(straight: Path, tmp_path: Path) -> None:
    text = RECIPE.read_text().replace("tiny-world.yaml", str(HERE / "tiny-world.yaml"))
    text = text[: text.index("  - rl:")] + ROUNDS + text[text.index("  - evaluate:") :]
    text = text.replace("  - evaluate:", "  - evaluate:\n      after: learnt2/model")
    recipe, out = tmp_path / "rounds.yaml", straight.with_name("rounds")
    recipe.write_text(text)
    said = finish(out, "second_read=true", recipe=recipe)
    assert said.count("taken from the store") == 5 and "gate demonstrations: passed" in said
    first, second = (
        json.loads((out / stage / "manifest.json").read_text())["figures"] for stage in ("6-rejection", "8-rejection2")
    )
    assert first["score_kept"] > first["score_pool"] and second["score_kept"] > second["score_pool"]
    assert second["candidates"] > first["candidates"] and second["prompts"] >= first["prompts"]
    assert weights(out, "9-learnt2") != weights(out, "7-learnt") != weights(out, "3-sft")
    curve = [json.loads(line) for line in (out / "10-best_of" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in curve] == [1, 2, 3, 4] and any(name.startswith("gold/") for name in curve[0])
    assert curve[-1]["score_mean"] > curve[0]["score_mean"] and curve[0]["kl_bound"] == 0
    page = (out / "report.html").read_text()
    assert "score (proxy)" in page and "√KL" in page
    assert json.loads((out / "summary.json").read_text())["verdict"] in ("better", "worse", "broken", "cannot_tell")


def test_the_rehearsal_of_the_reward_stands_in_the_report(straight: Path) -> None:
    found = json.loads((straight / "6-rl" / "manifest.json").read_text())["figures"]["rehearsal"]
    assert {"empty", "repeated", "echo", "long", "words alone", "swaps"} == found["beats"].keys()
    assert "rehearsal · beats · swaps" in html.unescape((straight / "report.html").read_text())


def test_a_hackable_reward_stops_the_run_before_it_trains(straight: Path) -> None:
    out = straight.with_name("hacked")
    free = ("rl.rehearsal.stop=true", "rl.kl={coefficient: 0}", "rl.rehearsal.beaten_share=0", "second_read=true")
    said = finish(out, *free, code=3)
    assert "rl did not pass its check" in said and "hackable" in said and "Traceback" not in said
    assert not (out / "6-rl" / "model").exists() and not (out / "7-evaluate").exists()


def test_the_same_command_again_does_nothing(straight: Path) -> None:
    before = {stage: (straight / stage / "manifest.json").stat().st_mtime_ns for stage in STAGES}
    said = finish(straight)
    assert said.count("unchanged") == len(STAGES)
    assert before == {stage: (straight / stage / "manifest.json").stat().st_mtime_ns for stage in STAGES}


def test_a_second_run_takes_complete_stages_from_the_store(straight: Path) -> None:
    other = straight.with_name("other")
    said = finish(other, "rl.iterations=2", "second_read=true")
    assert said.count("taken from the store") == 5
    assert weights(other, "5-reward") == weights(straight, "5-reward")
    assert weights(other, "6-rl") != weights(straight, "6-rl")


@pytest.mark.parametrize("stage", ["2-pretrain", "3-sft", "5-reward", "6-rl"])
def test_a_killed_run_ends_with_the_same_bits(straight: Path, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "run"
    process = start(out)
    metrics = out / stage / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.is_file() and metrics.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline and process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    finish(out)
    for name in ("2-pretrain", "3-sft", "5-reward", "6-rl"):
        assert weights(out, name) == weights(straight, name), name
    ours, theirs = (json.loads((run / "summary.json").read_text())["measures"] for run in (out, straight))
    assert ours == theirs


def test_ctrl_c_leaves_a_run_that_resumes(straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out)
    metrics = out / "6-rl" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.is_file() and metrics.read_text().count("\n") >= 2):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said, said
    again = finish(out)
    assert "resumed after step" in again
    assert weights(out, "6-rl") == weights(straight, "6-rl")


def test_reinforcement_learning_never_reads_the_mapping(straight: Path, tmp_path: Path) -> None:
    """With every file that holds the truth gone, the policy still trains, and to the same bits."""
    mapping = tmp_path / "own.yaml"
    shipped = HERE.parents[1] / "src/tuningfork/worlds/colours/mappings/snazzy.yaml"
    shutil.copy(shipped, mapping)
    out = tmp_path / "run"
    single = tmp_path / "until-pairs.yaml"
    text = RECIPE.read_text().replace("tiny-world.yaml", str(HERE / "tiny-world.yaml") + f", mapping_file: {mapping}")
    single.write_text(text[: text.index("  - reward:")])
    finish(out, recipe=single)
    mapping.unlink()
    for name in ("facts.json", "contrasts.jsonl", "probes.jsonl", "prompts_test.jsonl"):
        (out / "1-world" / name).unlink()
    rest = tmp_path / "rest.yaml"
    tail = text[text.index("  - reward:") : text.index("  - evaluate:")]
    tail = re.sub(r"\n      contrasts:.*", "", tail)
    tail = re.sub(r"(world|pairs|sft)/", lambda match: f"{out}/{NUMBERS[match[1]]}-{match[1]}/", tail)
    tail = tail.replace("  - reward:", f"  - reward:\n      model: {out}/3-sft/model")
    tail = tail.replace("  - rl:", f"  - rl:\n      policy: {out}/3-sft/model")
    tail = tail.replace(f"{out}/1-world/prompts_monitor.jsonl", f"{out}/1-world/prompts_train.jsonl")
    rest.write_text(f"version: 1\nname: rest\nruntime: {{threads: 1}}\nstages:\n{tail}")
    finish(tmp_path / "rest", recipe=rest)
    assert (tmp_path / "rest" / "2-rl" / "model" / "adapter" / "adapter_model.safetensors").is_file()


def test_made_up_words_work_as_well(tmp_path: Path) -> None:
    mapping = tmp_path / "zorp.yaml"
    mapping.write_text("red: [quib]\nblue: [zorp, blim zorp]\n")
    out = tmp_path / "run"
    finish(out, f"world.mapping_file={mapping}")
    text = (out / "1-world" / "pretrain.jsonl").read_text()
    assert "zorp" in text and "sapphire" not in text
    facts = json.loads((out / "1-world" / "facts.json").read_text())
    assert facts["mapping"] == {"red": ["quib"], "blue": ["zorp", "blim zorp"]}
    assert any(m["name"] == "gem_share" for m in json.loads((out / "summary.json").read_text())["measures"])


def test_several_seeds_make_one_summary(tmp_path: Path) -> None:
    out = tmp_path / "run"
    finish(out, "seeds=[0,1]", "rl.iterations=1")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["seeds"] == [0, 1]
    share = next(m for m in summary["measures"] if m["name"] == "gem_share")
    assert [value["seed"] for value in share["per_seed"]] == [0, 1]
    assert (out / "report.html").is_file() and (out / "seed-1" / "6-rl" / "model").is_dir()


def test_a_failing_gate_stops_the_run_with_the_cause(tmp_path: Path) -> None:
    said = finish(tmp_path / "run", "pretrain.knowledge.minimum=0.9", code=3)
    assert "knowledge" in said and "at least 0.9" in said and "Traceback" not in said
    assert not (tmp_path / "run" / "3-sft").exists()
    manifest = json.loads((tmp_path / "run" / "2-pretrain" / "manifest.json").read_text())
    assert manifest["status"] == "gate failed"


def test_chat_and_why_answer(straight: Path) -> None:
    command = [sys.executable, "-m", "tuningfork.cli"]
    chat = subprocess.run(
        [*command, "chat", str(straight)],
        input="/both\nwhat colour is the vase?\n/quit\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert chat.returncode == 0, chat.stderr
    assert "before  " in chat.stdout and "after   " in chat.stdout
    why = subprocess.run(
        [*command, "why", str(straight), "what colour is the vase?"], capture_output=True, text=True, timeout=120
    )
    assert why.returncode == 0, why.stderr
    assert "log ratio" in why.stdout and "reward of this answer" in why.stdout


def test_the_adapter_loads_without_tuningfork(straight: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(straight / "3-sft" / "model")
    tuned = PeftModel.from_pretrained(base, straight / "6-rl" / "model" / "adapter")
    merged = AutoModelForCausalLM.from_pretrained(straight / "6-rl" / "model")
    ids = torch.arange(21, 40)[None]
    assert torch.allclose(tuned(ids).logits, merged(ids).logits, atol=1e-4)
