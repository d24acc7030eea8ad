"""The page as a whole: rendered from made-up run folders, complete, partial and hostile."""

import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest

from tuningfork.errors import RunError
from tuningfork.report import render_report

VOID = {"meta", "link", "br", "col", "img"}


class Page(HTMLParser):
    """Checks nesting and keeps what can be asked about."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert not self.stack, f"left open: {self.stack}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.stack and self.stack.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.stack and self.stack[-1] in ("h1", "h2"):
            self.headings.append(data.strip())
        if self.stack and self.stack[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def render(folder) -> Page:
    return Page(render_report(folder).read_text(encoding="utf-8"))


def test_whole_run(make_run):
    folder = make_run()
    started = time.process_time()
    path = render_report(folder)
    assert time.process_time() - started < 3
    assert path == folder / "report.html" and path.stat().st_size < 1_000_000
    page = Page(path.read_text(encoding="utf-8"))
    assert page.headings == [
        "Better", "What changed", "What must not get worse", "Proxy and gold", "Answers before and after",
        "What got worse, as text", "Forgetting ledger", "Stages", "Reproduce",
    ]  # fmt: skip
    assert "script" not in page.tags and page.addresses == []
    for words in (
        "Snazzy and right rose from 0.09",
        "All 3 guards held",
        "lapis lazuli",
        "tuningfork run recipe.yaml",
        "7 answers are worse",
        "cut off",
        "2.90 nats",
    ):
        assert words in page.text, words


def test_the_verdict_comes_first(make_run):
    words = render(make_run()).text
    assert words.index("Better") < words.index("95 % interval") < words.index("What changed")


def test_rendering_again_gives_the_same_page(make_run):
    folder = make_run()
    first = render_report(folder).read_bytes()
    assert render_report(folder).read_bytes() == first
    assert not (folder / ".report.html.tmp").exists()


def test_seeds_have_columns_and_curves(make_run):
    html = render_report(make_run(seeds=3)).read_text(encoding="utf-8")
    page = Page(html)
    assert "on every one of 3 seeds" in page.text and "seed 2" in page.text
    assert html.count('class="curve s2"') == html.count('class="curve s0"') > 5
    assert "sd 0.0" in page.text


@pytest.mark.parametrize("parts", [["lexicon"], ["lexicon", "length"]])
def test_parts_of_a_score_are_drawn_unless_it_is_the_only_one(tmp_path, parts):
    stage = tmp_path / "run" / "5-rl"
    stage.mkdir(parents=True)
    (stage / "manifest.json").write_text(json.dumps({"id": "rl", "kind": "rl", "gates": []}))
    rows = [{"step": n, "score_mean": n / 9, **{f"score/{part}": n / 7 for part in parts}} for n in range(1, 9)]
    (stage / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "run" / "recipe.yaml").write_text("name: small\n")
    html = render_report(tmp_path / "run").read_text(encoding="utf-8")
    drawn = [part for part in ("lexicon", "length") if f'aria-label="score: {part}:' in html]
    assert 'aria-label="score (proxy):' in html
    assert drawn == (parts if len(parts) > 1 else [])


def test_a_stopped_run_says_where(tmp_path):
    stage = tmp_path / "run" / "3-reward"
    stage.mkdir(parents=True)
    gate = {
        "name": "contrast",
        "passed": False,
        "message": "right above wrong in 0.33 of pairs, at least 0.85 wanted",
        "figures": {},
    }
    (stage / "manifest.json").write_text(json.dumps({"id": "reward", "kind": "reward", "gates": [gate]}))
    page = render(tmp_path / "run")
    assert (
        page.headings[0] == "Stopped" and "The gate contrast of reward failed: right above wrong in 0.33" in page.text
    )


def test_an_unfinished_run_says_so(make_run):
    folder = make_run()
    (folder / "summary.json").unlink()
    page = render(folder)
    assert page.headings[0] == "No verdict yet" and "Finished so far: world, pretrain, sft" in page.text


def test_the_summary_of_the_evaluation_serves_while_the_run_has_none(make_run):
    folder = make_run()
    (folder / "summary.json").rename(folder / "7-evaluate" / "summary.json")
    assert render(folder).headings[0] == "Better"


@pytest.mark.parametrize(
    "missing", ["recipe.yaml", "7-evaluate/samples.jsonl", "6-rl/metrics.jsonl", "6-rl/manifest.json", "6-rl/card.md"]
)
def test_any_file_may_be_missing(make_run, missing):
    folder = make_run()
    (folder / missing).unlink()
    assert render(folder).headings[0] == "Better"


def test_unreadable_files_are_notes_and_not_silence(make_run):
    folder = make_run()
    with (folder / "6-rl" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 201, "lo')
    (folder / "3-sft" / "manifest.json").write_text("{")
    (folder / "summary.json").write_text('{"version": 99}')
    text = render(folder).text
    assert "metrics.jsonl: 1 unreadable line left out" in text
    assert "manifest.json cannot be read" in text and "summary of version 99" in text


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="no such run folder"):
        render_report(tmp_path / "nothing")
    with pytest.raises(RunError, match="not a run folder"):
        render_report(tmp_path)


PRINTABLE = "<script>alert(1)</script><img src=x onerror=y>\x1b[2J\u202egnp.exe"
HOSTILE = PRINTABLE + "\ud83d"  # half a surrogate pair: cannot even be written as UTF-8


def poison(folder):
    """Put hostile text wherever a run's files hold text."""
    row = {
        "prompt": HOSTILE,
        "before": HOSTILE,
        "after": "x" + HOSTILE,
        "before_gold": {HOSTILE: 1.0},
        "before_reward": 1,
    }
    for name in ("samples", "shown"):
        (folder / "7-evaluate" / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    rl = folder / "6-rl"
    (rl / "samples.jsonl").write_text(json.dumps({"step": HOSTILE, "prompt": HOSTILE, "response": HOSTILE}) + "\n")
    rows = [{"step": step, HOSTILE: step, f"gold/{HOSTILE}": step, "loss": float("nan")} for step in (1, 2)]
    (rl / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    links = "![x](http://example.org/x.png) [go](javascript:alert(1))"
    (rl / "card.md").write_text(f"# {PRINTABLE}\n\n{PRINTABLE}\n\n{links}\n", encoding="utf-8")
    manifest = json.loads((rl / "manifest.json").read_text())
    gates = [{"name": HOSTILE, "passed": True, "message": HOSTILE}, "no gate"]
    texts = {name: {HOSTILE: HOSTILE} for name in ("figures", "settings", "versions")}
    manifest |= {"id": HOSTILE, "kind": HOSTILE, "gates": gates, "finished": HOSTILE, "seconds": "x", **texts}
    (rl / "manifest.json").write_text(json.dumps(manifest))
    summary = json.loads((folder / "summary.json").read_text())
    summary["measures"][0]["label"] = summary["verdict_text"] = summary["recipe"] = PRINTABLE
    summary["ledger"][0]["probe"] = summary["regressions"][0]["prompt"] = PRINTABLE
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "recipe.yaml").write_text("name: <script>\x1b")


def test_nothing_untrusted_gets_through(make_run):
    folder = make_run()
    poison(folder)
    html = render_report(folder).read_text(encoding="utf-8")
    page = Page(html)
    assert not {"script", "img", "iframe"} & set(page.tags)
    assert not set(html) & {"\x1b", "\u202e"}
    assert not any(address.startswith("javascript") for address in page.addresses)
    assert "U+202E" in page.text and "\\x1b" in page.text


def test_large_metrics_stay_small_and_quick(make_run):
    folder = make_run()
    lines = [
        json.dumps({"step": s, "seconds": 0.1, "loss": 1 / s, "gradient_norm": 1.0, "samples": 64, "tokens": 4096})
        for s in range(1, 30_001)
    ]
    (folder / "2-pretrain" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    started = time.process_time()
    assert render_report(folder).stat().st_size < 400_000
    assert time.process_time() - started < 3


def test_importing_the_report_does_not_import_torch():
    modules = "report, evals.combine, evals.verdict, evals.text, artifacts.metrics"
    imports = ", ".join(f"tuningfork.{name}" for name in modules.split(", "))
    code = f"import sys, {imports}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
