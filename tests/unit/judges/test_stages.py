"""The stages `judge` and `score`: what they write, what they measure, and when a judge is not used at all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server import Body, Raw, completion, serving

from tuningfork.data.judgements import read_judgements
from tuningfork.errors import ModelError
from tuningfork.recipe import load_recipe
from tuningfork.single import one_stage_recipe
from tuningfork.stages import judge, score

Make = Callable[..., Any]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def preferences(count: int) -> list[dict[str, Any]]:
    """Good answers say `yes` a number of times, and rejected ones `no`."""
    return [
        {
            "prompt": f"question {n}?",
            "chosen": "yes " * (1 + n % 3) + f"{n}.",
            "rejected": "no " * (1 + n % 5) + f"{n}.",
        }
        for n in range(count)
    ]


def yes_judge(bias: float = 0.0, errs: Callable[[str], bool] = lambda text: False) -> Callable[[Body], Any]:
    """An endpoint that prefers `yes`, and whatever is shown first by `bias`."""

    def say(body: Body) -> Any:
        text = body["messages"][0]["content"]
        first = text.partition("[Answer A]\n")[2].partition("\n\n[Answer B]")[0]
        p = 1 / (1 + math.exp(-((2.0 if first.startswith("yes") else -2.0) * (-1 if errs(text) else 1) + bias)))
        told = completion("A" if p > 0.5 else "B", usage=(20, 1))
        top = [{"token": " A", "logprob": math.log(p)}, {"token": "B", "logprob": math.log(1 - p)}]
        told["choices"][0]["logprobs"] = {"content": [{"top_logprobs": top}]}
        return told

    return say


def run(make_stage: Make, tmp_path: Path, url: str, name: str = "stage", by: Any = None, **changes: Any) -> Any:
    data = write(tmp_path / "data.jsonl", preferences(24))
    stage = make_stage(name, {"data": data, "check.labels": data})
    endpoint = {"kind": "endpoint", "url": url, "model": "big", "token_cap": 10**6, "retries": 0, **(by or {})}
    values = {"judge": {"name": "model", "by": endpoint}, "data": str(data), **changes}
    judge.run(stage, judge.StageSettings.model_validate(values))
    return stage


def test_a_judge_writes_the_one_record_with_soft_labels(make_stage: Make, tmp_path: Path) -> None:
    with serving(yes_judge(bias=1.0)) as server:
        stage = run(make_stage, tmp_path, server.url)
        assert len(server.bodies) == 48, "both orders"
    found = read_judgements(stage.out / "judgements.jsonl")
    expected = (1 / (1 + math.exp(-3.0)) + 1 - 1 / (1 + math.exp(1.0))) / 2  # of yes shown first, and shown second
    assert len(found) == 24 and all(one.ranking == [[0], [1]] for one in found)
    assert found[0].probability == pytest.approx(expected) and found[0].strength == pytest.approx(2 * expected - 1)
    assert found[0].rater.kind == "model" and found[0].rater.id.startswith("big at 127.0.0.1")
    assert "pairwise@" in found[0].rater.id and found[0].candidates[0].text.startswith("yes")
    figures = stage.figures
    assert figures["agreement"] == 1.0 and figures["order_first_share"] > 0.55 and figures["labelled_pairs"] == 24
    assert figures["length_longer_share"] == figures["length_longer_share_of_labels"]
    assert figures["prompt_tokens"] == 48 * 20 and stage.gates[0].passed


def test_a_judge_that_does_not_agree_with_people_judges_nothing(make_stage: Make, tmp_path: Path) -> None:
    check = {"labels": "data.jsonl", "pairs": 20, "minimum": 0.75}
    with serving(yes_judge(errs=lambda text: int(text.partition("question ")[2].partition("?")[0]) % 2 == 0)) as server:
        stage = run(make_stage, tmp_path, server.url, check=check)
        assert len(server.bodies) == 40, "the labelled pairs alone"
    assert not stage.gates[0].passed and stage.gates[0].name == "agreement" and "kappa" in stage.gates[0].message
    assert not (stage.out / "judgements.jsonl").exists() and stage.figures["check_agreement"] < 0.75
    with serving(yes_judge()) as server:
        stage = run(make_stage, tmp_path, server.url, "good", check=check)
        assert [gate.passed for gate in stage.gates] == [True, True]
        assert len(server.bodies) == 48, "what was asked for the check is not asked again"
        perfect = run(make_stage, tmp_path, server.url, "perfect", check=check | {"maximum": 0.95})
        assert not perfect.gates[0].passed, "a critic that is never wrong would prove nothing"


def test_replies_that_cannot_be_understood_are_counted_and_stop_the_run(make_stage: Make, tmp_path: Path) -> None:
    with serving(lambda body: "A or B" if "question 1" in body["messages"][0]["content"] else "A") as server:
        stage = run(make_stage, tmp_path, server.url)
    # 1 and 10 to 19 are not understood; of the others the first shown is always preferred: ties
    assert (stage.figures["unreadable"], stage.figures["judged"], stage.figures["ties"]) == (11, 13, 13)
    assert not stage.gates[0].passed and "11 replies could not be understood" in stage.gates[0].message


def test_a_cap_leaves_pairs_out_and_is_said(make_stage: Make, tmp_path: Path) -> None:
    with serving(yes_judge()) as server:
        stage = run(make_stage, tmp_path, server.url, by={"token_cap": 1000, "concurrency": 1})
    assert 0 < stage.figures["left_unasked"] < 25 and "were not asked about" in stage.gates[0].message
    assert stage.figures["judged"] + stage.figures["left_unasked"] == 24


def test_a_faulty_server_loses_nothing_and_nothing_is_paid_twice(make_stage: Make, tmp_path: Path) -> None:
    """Answers late, with 429 and 500, cut, garbage and twice; work that was done is known by its idempotency key."""
    honest, paid, seen = yes_judge(), dict[str, Any](), dict[str, int]()

    def say(body: Body) -> Any:
        key = json.dumps(body, sort_keys=True)
        attempt = seen[key] = seen.get(key, 0) + 1
        fault = sum(map(ord, key)) % 6
        if attempt == 1 and fault in (0, 1):
            return (429, "slow down") if fault else (500, "oops")
        if attempt == 1 and fault == 2:
            return Raw("<html>a proxy's page</html>")
        paid[key] = paid.get(key, 0) + (key not in paid)  # such a server answers a known key from memory
        if attempt == 1 and fault == 3:
            return Raw(json.dumps(honest(body)), cut=30)
        if fault == 4:
            return Raw(json.dumps(honest(body)) + "\n")
        return honest(body)

    with serving(say) as server:
        stage = run(make_stage, tmp_path, server.url, by={"retries": 3, "backoff": 0.01, "concurrency": 6})
        requests = len(server.bodies)
        assert requests > 48 and {headers["Idempotency-Key"] for headers in server.headers} and len(paid) == 48
        keys: dict[str, set[str]] = {}
        for body, headers in zip(server.bodies, server.headers, strict=True):
            keys.setdefault(json.dumps(body, sort_keys=True), set()).add(headers["Idempotency-Key"])
        assert all(len(found) == 1 for found in keys.values()) and max(paid.values()) == 1
        again = run(make_stage, tmp_path, server.url, "again", by={"retries": 3, "backoff": 0.01}, tie_margin=0.1)
        assert len(server.bodies) == requests, "another run with other settings asks nothing again"
    assert stage.figures["judged"] == 24 and stage.figures["agreement"] == 1.0
    assert again.figures["replies_from_cache"] == 48


def test_a_server_that_stays_broken_ends_the_run_and_keeps_what_came(make_stage: Make, tmp_path: Path) -> None:
    honest, count = yes_judge(), [0]

    def say(body: Body) -> Any:
        count[0] += 1
        return honest(body) if count[0] <= 10 or count[0] > 12 else (500, "oops")

    with serving(say) as server:
        with pytest.raises(ModelError, match="the same command later"):
            run(make_stage, tmp_path, server.url, by={"concurrency": 1})
        run(make_stage, tmp_path, server.url, by={"concurrency": 1, "retries": 1, "backoff": 0.01})
        texts = [body["messages"][0]["content"] for body in server.bodies]
    assert len(texts) == 48 + 2 and len(set(texts)) == 48


def test_columns_of_an_evaluation_are_compared_without_labels(make_stage: Make, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"q{n}", "root": "r", "before": "a a a a", "after": "a b c d", "after_reward": 1} for n in range(8)
    ]
    data = write(tmp_path / "samples.jsonl", rows)
    stage = make_stage(inputs={"data": data})
    values = {
        "judge": {"name": "reward", "reward": {"name": "repetition", "n": 1}, "scale": 0.5},
        "data": str(data),
        "answers": ["before", "after"],
    }
    judge.run(stage, judge.StageSettings.model_validate(values))
    found = read_judgements(stage.out / "judgements.jsonl")
    assert len(found) == 8 and all(one.ranking == [[1], [0]] for one in found) and found[0].rater.kind == "rule"
    assert found[0].probability == pytest.approx(1 / (1 + math.exp(-0.75 / 0.5)))  # scores -3/4 and 0
    assert stage.figures["order_first_share"] == pytest.approx(0.5) and "agreement" not in stage.figures


def test_scores_of_preferences_have_a_table_and_an_accuracy(make_stage: Make, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", preferences(15))
    stage = make_stage(inputs={"data": data})
    reward = {"name": "length", "at_most": 0, "per": 1}
    score.run(stage, score.StageSettings.model_validate({"reward": reward, "data": str(data)}))
    table = (stage.out / "table.md").read_text().splitlines()
    assert table[0].startswith("| group | score | n |") and table[2].startswith("| chosen | total | 15 | −3.00 |")
    assert stage.figures["chosen_total_mean"] == -3 and stage.figures["rejected_total_mean"] == -4
    # words 2, 3, 4 against 2 to 6, each combination once: fewer words win in 3 + ... of 15
    wins = sum(1 + n % 3 < 1 + n % 5 for n in range(15)) / 15
    assert stage.figures["accuracy"] == pytest.approx(wins) and stage.figures["unscorable"] == 0
    rows = [json.loads(line) for line in (stage.out / "scores.jsonl").read_text().splitlines()]
    assert rows[0] == {
        "prompt": "question 0?", "response": "yes 0.", "group": "chosen", "score": -2.0, "parts": {"words": 2.0},
    }  # fmt: skip
    scale = json.loads((stage.out / "scale.json").read_text())
    assert scale["mean"] == pytest.approx(-3.5)


def test_scores_read_columns_of_the_rows(make_stage: Make, tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": text, "answer": "4"} for text in ("it is 4", "it is 5", "four")]
    data = write(tmp_path / "data.jsonl", rows)
    stage = make_stage(inputs={"data": data})
    values = {"reward": {"name": "answer", "match": "number"}, "data": str(data)}
    score.run(stage, score.StageSettings.model_validate(values))
    assert stage.figures["total_mean"] == pytest.approx(1 / 3) and stage.figures["answered_mean"] == pytest.approx(
        2 / 3
    )


def test_both_are_commands(tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", preferences(3))
    overrides = ["reward.name=rouge", "reward.variant=rouge_1", "limit=2"]
    recipe = one_stage_recipe("score", model=None, data=str(data), overrides=overrides)
    assert recipe.stages[0].settings.reward.variant == "rouge_1"  # type: ignore[attr-defined]
    overrides = ["judge.name=model", "judge.by.kind=endpoint", "judge.by.url=https://a.example/v1", "judge.by.model=m"]
    recipe = one_stage_recipe("judge", model=None, data=str(data), overrides=[*overrides, "judge.by.token_cap=9"])
    from tuningfork.trust import code_items

    assert [item.setting for item in code_items(recipe)] == ["judge.judge.by.url"]
    assert load_recipe("bleu-gap", [f"data={tmp_path}"]).name == "bleu-gap"


def test_a_local_model_judges_by_the_probabilities_of_its_labels(
    make_stage: Make, tmp_path: Path, tiny_backbone: Any
) -> None:
    from tuningfork.asking.labels import label_logprobs, label_shares
    from tuningfork.evals.answers import make_prompts

    tiny_backbone.save(tmp_path / "model")
    question = tmp_path / "short.txt"
    question.write_text("$prompt\nA $a\nB $b\n$principle")
    data = write(
        tmp_path / "data.jsonl", [{"prompt": "the?", "chosen": f"red {n}", "rejected": "it"} for n in range(7)]
    )
    found = []
    for name in ("one", "two"):
        stage = make_stage(name, {"data": data, "judge.by.model": tmp_path / "model", "judge.prompt": question})
        by = {"kind": "local", "model": str(tmp_path / "model")}
        values = {"judge": {"name": "model", "by": by, "prompt": str(question)}, "data": str(data)}
        judge.run(stage, judge.StageSettings.model_validate(values))
        found.append(read_judgements(stage.out / "judgements.jsonl"))
    assert found[0] == found[1] and len(found[0]) == 7 and found[0][0].rater.id.endswith(tuple("0123456789abcdef"))
    chat = bool(getattr(tiny_backbone.tokenizer, "chat_template", None))
    probabilities = []
    for first, second in (("red 0", "it"), ("it", "red 0")):
        text = f"the?\nA {first}\nB {second}"
        row = {"id": 0, "messages": [{"role": "user", "content": text}]} if chat else {"id": 0, "prompt": text}
        (prompt,) = make_prompts(tiny_backbone, [row])
        (told,) = label_logprobs(tiny_backbone, [prompt.ids], [("A", "B")], stage.runtime)
        shares = label_shares(told, ("A", "B"))
        assert shares is not None
        probabilities.append(shares[0])
    mean = (probabilities[0] + 1 - probabilities[1]) / 2
    assert found[0][0].probability == pytest.approx(max(mean, 1 - mean), abs=1e-5)
    assert found[0][0].ranking == ([[0], [1]] if mean > 0.5 else [[1], [0]])


def test_labels_of_several_tokens_count_whole_and_both_spacings_are_summed(tiny_backbone: Any) -> None:
    import torch

    from tuningfork.asking.labels import label_logprobs
    from tuningfork.runtime import Runtime

    prompt = [*tiny_backbone.start_ids, *tiny_backbone.encode(["the cat"])[0]]
    (told,) = label_logprobs(tiny_backbone, [prompt], [("blue", "mop")], Runtime("cpu", "fp32", 1))
    for label in ("blue", "mop"):
        total = 0.0
        for ids in {tuple(tiny_backbone.encode([text])[0]) for text in (label, f" {label}")}:
            probability, seen = 1.0, list(prompt)
            for token in ids:
                with torch.no_grad():
                    mask = torch.ones(1, len(seen), dtype=torch.bool)
                    logits = tiny_backbone.lm_head(tiny_backbone.hidden(torch.tensor([seen]), mask))
                probability *= float(logits[0, -1].double().softmax(-1)[token])
                seen.append(token)
            total += probability
        assert told[label] == pytest.approx(math.log(total), abs=1e-4)


def test_labels_of_many_prompts_at_once_are_those_of_each_alone(tiny_backbone: Any) -> None:
    from tuningfork.asking.labels import label_logprobs
    from tuningfork.runtime import Runtime

    runtime = Runtime("cpu", "fp32", 1)
    prompts = [[*tiny_backbone.start_ids, *ids] for ids in tiny_backbone.encode(["the cat", "it", "the mat is red."])]
    labels = [("A", "B"), ("blue", "A", "mop"), ("mop",)]
    together = label_logprobs(tiny_backbone, prompts, labels, runtime, batch_rows=2)
    assert [list(told) for told in together] == [list(own) for own in labels]
    for prompt, own, told in zip(prompts, labels, together, strict=True):
        assert label_logprobs(tiny_backbone, [prompt], [own], runtime)[0] == pytest.approx(told, abs=1e-5)
