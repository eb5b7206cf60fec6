"""The page of a run, looked at with a real browser that has no network."""

from __future__ import annotations

import contextlib
import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from hvd_imgcls.config import parse_config, to_yaml
from hvd_imgcls.distributed.single_process import SingleProcessCollectives
from hvd_imgcls.errors import ConfigError
from hvd_imgcls.files.atomic import write_text
from hvd_imgcls.files.json_files import append_json_lines, write_json
from hvd_imgcls.metrics import Collector, evaluate
from hvd_imgcls.metrics.curves import curves
from hvd_imgcls.metrics.worst import notable_examples
from hvd_imgcls.run_directory.paths import EvaluationFiles, RunDir
from hvd_imgcls.workflows.evaluating.notable_images import data_uri
from hvd_imgcls.workflows.report import write_comparison, write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="needs chromium: apt-get install chromium"
)
PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: constant, base_learning_rate: 0.1}
train: {global_batch_size: 8, num_epochs: 3}
"""
# The names of the charts whose tool bar is visible, in JavaScript.
VISIBLE_TOOL_BARS = """[...document.querySelectorAll(".modebar-group:first-child")]
    .filter((group) => getComputedStyle(group).opacity * getComputedStyle(group.parentNode).opacity)
    .map((group) => group.closest(".js-plotly-plot").id)"""
# What a page must not run or show as it is.
NASTY = "</script><script>alert(1)</script>&<b>"


# The text of an element by line as it is drawn.
LINES_OF_TEXT = """element => {
  const lines = {}, range = document.createRange();
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    for (let i = 0; i < node.length; i++) {
      range.setStart(node, i); range.setEnd(node, i + 1);
      const y = Math.round(range.getBoundingClientRect().y);
      lines[y] = (lines[y] || "") + node.data[i];
    }
  }
  return Object.values(lines).map(line => line.trim());
}"""


def write_run(path, num_classes, num_examples, *, rate=0.1):
    """Writes the files of a run with made-up outputs."""
    path.mkdir(parents=True)
    files, random = RunDir(path), np.random.default_rng(0)
    config = parse_config(PIPELINE, [f"--schedule.base_learning_rate={rate}"], origin="x.yaml")
    names = [NASTY, *(f"class {number}" for number in range(1, num_classes))]
    labels = np.arange(num_examples) % num_classes
    logits = random.normal(size=(num_examples, num_classes)).astype(np.float32)
    logits[np.arange(num_examples), labels] += 3
    collector = Collector(num_classes=num_classes, num_examples=num_examples, capacity=num_examples)
    collector.add(np.arange(num_examples), labels, logits)
    columns = {"camera": [("old", "new", None)[number % 3] for number in range(num_examples)]}
    evaluated = evaluate(collector, names, SingleProcessCollectives(), columns=columns)
    worst = notable_examples(evaluated.examples, names, lambda number: f"{NASTY}/{number}.png")
    evaluation = EvaluationFiles(path)
    write_json(evaluation.metrics, {**evaluated.metrics, **worst})
    write_json(evaluation.curves, curves(evaluated.rankings, names))
    write_text(files.config, to_yaml(config))
    numbers = {row["example"] for rows in worst.values() for row in rows}
    pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write_json(files.pictures, {str(number): data_uri(pixels) for number in numbers})
    epochs = [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "loss": 1 / epoch,
            "accuracy": 1 - 1 / (epoch + 1),
            "val_loss": 1.5 / epoch,
            "val_top1": 1 - 1 / (epoch + 2),
            "learning_rate": rate,
            "images_per_second": 100.0,
            "data_wait_share": 0.01,
            "rank_wait_share": 0.02,
        }
        for epoch in (1, 2, 3)
    ]
    append_json_lines(files.metrics, epochs)
    append_json_lines(
        files.nodes,
        [
            {
                "time": f"2026-11-22T12:00:{10 * window}+00:00",
                "phase": "training",
                "step": 10 * window,
                "host": host,
                "cpu_share": 0.5,
                "load": 1.0,
                "memory_used_bytes": 4e9,
                "network_in_bytes_per_second": 1e6,
                "network_out_bytes_per_second": 2e6,
                "disk_read_bytes_per_second": 3e6,
                "disk_write_bytes_per_second": None,
            }
            for window in (1, 2, 3)
            for host in ("a", NASTY)
        ],
    )
    append_json_lines(
        files.launches,
        [
            {
                "time": "2026-11-22T12:00:00+00:00",
                "command": f"hvd-imgcls train {NASTY}",
                "size": size,
                "ranks_by_host": {"box": size},
                "data_fingerprint": "abc",
                "versions": {"keras": "3"},
                "system": "Linux",
                "processor": "a processor",
            }
            for size in (4, 2)
        ],
    )
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", 10, 300)


@contextlib.contextmanager
def opened(path, *, width=1400, scheme="light", is_phone=False):
    """Yields the page, and what it complained about or asked for."""
    from playwright.sync_api import sync_playwright

    problems = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            offline=True,
            is_mobile=is_phone,
            has_touch=is_phone,
        )
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda request: problems.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        assert problems.pop(0) == path.as_uri()
        problems[:] = [problem for problem in problems if not problem.startswith("data:image/")]
        yield page, problems
        browser.close()


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (400, "dark")])
def test_page_opens_without_errors_or_requests_and_fits(run, tmp_path, width, scheme):
    write_report(run, tmp_path / "report.html")
    with opened(tmp_path / "report.html", width=width, scheme=scheme) as (page, problems):
        assert page.evaluate("document.documentElement.scrollWidth") == width
        drawn = page.eval_on_selector_all(
            ".js-plotly-plot", "plots => plots.map(plot => [plot.id, plot.data.length])"
        )
        assert dict(drawn) == {
            "loss": 2,
            "accuracy": 2,
            "learning_rate": 1,
            "throughput": 1,
            "waiting": 2,
            "confusion": 1,
            "calibration": 2,
            "roc": 11,
            "precision_recall": 11,
            "node_cpu": 2,
            "node_load": 2,
            "node_memory": 2,
            "node_network": 4,
            "node_disk": 2,
        }
        assert page.locator("#roc .scatterlayer path.js-line").count() == 11
        assert page.locator("#confusion .heatmaplayer image").count() == 1
        assert page.title().startswith("run")
        pictures = page.eval_on_selector_all(
            ".gallery img", "images => images.map(image => image.complete && image.naturalWidth)"
        )
        assert pictures
        assert set(pictures) == {8}
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 26)"}[scheme]
        assert problems == []


@needs_browser
def test_table_of_classes_sorts_by_mouse_and_by_keyboard(run, tmp_path):
    write_report(run, tmp_path / "report.html")
    metrics = json.loads(EvaluationFiles(run).metrics.read_text())
    recalls = sorted((row["recall"] for row in metrics["per_class"]), reverse=True)
    with opened(tmp_path / "report.html") as (page, problems):
        table = page.locator("section[aria-labelledby=classes] table")
        button = table.get_by_role("button", name="recall")

        def shown():
            cells = table.locator("td:nth-child(4)").all_inner_texts()
            # Below the number is its interval.
            return [float(text.split()[0]) for text in cells]

        button.click()
        assert shown() == pytest.approx(recalls, abs=5e-5)
        assert table.locator("th[aria-sort=descending]").inner_text().strip() == "recall"
        button.focus()
        page.keyboard.press("Enter")
        assert shown() == pytest.approx(recalls[::-1], abs=5e-5)
        assert problems == []


@needs_browser
@pytest.mark.parametrize(("page_of", "is_phone"), [("run", False), ("comparison", True)])
def test_tool_bars_are_seen_under_the_pointer_and_never_lie_over_the_data(
    run, tmp_path, page_of, is_phone
):
    path = tmp_path / "page.html"
    if page_of == "run":
        write_report(run, path)
    else:
        write_comparison([run, run], path)
    with opened(path, width=400 if is_phone else 1400, is_phone=is_phone) as (page, problems):
        charts = page.locator(".js-plotly-plot")
        page.add_style_tag(content="* { transition: none !important; }")
        assert page.evaluate(VISIBLE_TOOL_BARS) == []
        for chart in charts.all():
            name = chart.get_attribute("id")
            if is_phone:
                chart.tap()
            else:
                chart.hover()
            assert page.evaluate(VISIBLE_TOOL_BARS) == [name]
            bar = chart.locator(".modebar").bounding_box()
            data = chart.locator(".nsewdrag").bounding_box()
            assert bar["y"] + bar["height"] <= data["y"]
            assert bar["y"] >= chart.bounding_box()["y"]
        assert problems == []


@needs_browser
def test_what_is_in_names_is_shown_and_not_run(run, tmp_path):
    write_report(run, tmp_path / "report.html")
    with opened(tmp_path / "report.html") as (page, problems):
        assert NASTY in page.locator("section[aria-labelledby=run] code").inner_text()
        cells = page.locator("section[aria-labelledby=classes] td:first-child").all_inner_texts()
        assert NASTY in cells
        assert page.locator("b").count() == 0
        assert problems == []


@needs_browser
def test_a_thousand_classes_are_less_than_ten_megabytes_and_are_drawn(tmp_path):
    run = write_run(tmp_path / "run", 1000, 3000)
    write_report(run, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 10 * 10**6
    with opened(tmp_path / "report.html") as (page, problems):
        assert page.locator("section[aria-labelledby=classes] tbody tr").count() == 1000
        assert page.evaluate("document.getElementById('confusion').data[0].x.length") == 40
        assert problems == []


@needs_browser
@pytest.mark.parametrize("page_of", ["run", "comparison"])
def test_names_in_tables_can_be_read_on_a_phone(run, tmp_path, page_of):
    path = tmp_path / "page.html"
    if page_of == "run":
        write_report(run, path)
    else:
        write_comparison([run, write_run(tmp_path / "other", 10, 300, rate=0.2)], path)
    with opened(path, width=400) as (page, problems):
        header = page.locator("table th[data-kind=text]").first.bounding_box()
        assert header["height"] < 60
        assert header["width"] > 100
        caption = page.locator("table caption").first
        assert caption.evaluate("element => getComputedStyle(element).textAlign") == "left"
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        assert problems == []


@needs_browser
@pytest.mark.parametrize("width", [400, 1400])
def test_values_that_differ_can_be_read_beside_their_keys(tmp_path, width):
    runs = [tmp_path / name for name in ("digits_cnn_with_a_long_name-1", "x" * 80, "c")]
    for number, run in enumerate(runs):
        write_run(run, 10, 300, rate=0.1 * (number + 1))
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["data"]["source"]["path"] = f"/data/photographs/{'folder/' * 40}{number}"
        config["augment"] = [{"name": "random_flip"}] * 11 + [{"name": f"other_{number}"}]
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    write_comparison(runs, tmp_path / "comparison.html")
    with opened(tmp_path / "comparison.html", width=width) as (page, problems):
        table = page.locator("section[aria-labelledby=differences] table")
        keys = ["augment.11.name", "data.source.path", "schedule.base_learning_rate"]
        assert table.locator("tbody th").all_inner_texts() == keys
        first_values = [row.locator("td").first for row in table.locator("tbody tr").all()]
        assert first_values[0].inner_text() == "other_0"
        for cell in [*table.locator("thead th").all(), *first_values]:
            assert cell.bounding_box()["width"] <= 342
        # The key and the first value are in the window, beside each other.
        assert first_values[1].bounding_box()["x"] + 110 <= width
        results = page.locator("section[aria-label=Results] table")
        assert results.locator("tbody tr td").first.bounding_box()["width"] >= 110
        # No line of a name is a part of a word.
        heading = table.locator("thead th").nth(1)
        assert heading.inner_text() == "digits_cnn_with_a_long_name-1"
        lines = heading.evaluate(LINES_OF_TEXT)
        assert all(line.endswith(("_", "-", "1")) for line in lines), lines
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert problems == []


@needs_browser
def test_runs_are_compared(run, tmp_path):
    other = write_run(tmp_path / "other", 10, 300, rate=0.2)
    write_comparison([run, other], tmp_path / "comparison.html")
    with opened(tmp_path / "comparison.html") as (page, problems):
        rows = page.locator("section[aria-labelledby=differences] tbody tr").all_inner_texts()
        assert [row.split() for row in rows] == [["schedule.base_learning_rate", "0.1", "0.2"]]
        assert page.evaluate("document.getElementById('loss').data.map(t => t.name)") == [
            "run",
            "other",
        ]
        assert problems == []


def test_runs_on_other_classes_or_images_are_not_compared_in_silence(run, tmp_path):
    same = write_run(tmp_path / "same", 10, 300)
    classes = write_run(tmp_path / "classes", 9, 300)
    images = write_run(tmp_path / "images", 10, 290)
    page = tmp_path / "comparison.html"
    write_comparison([run, same], page)
    assert 'aria-label="Warnings"' not in page.read_text()
    write_comparison([run, classes, images], page)
    assert "classes has other classes (" in page.read_text()
    assert "images has other training or held-out images than run." in page.read_text()


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
    files = RunDir(tmp_path)
    write_text(files.config, to_yaml(parse_config(PIPELINE, [], origin="x.yaml")))
    write_report(tmp_path, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "small_cnn" in text
    assert "Evaluation" not in text


def test_a_pre_training_is_shown_with_its_reconstructions(tmp_path):
    run = write_run(tmp_path / "run", 3, 30)
    files = RunDir(run)
    append_json_lines(files.pretraining, [{"epoch": 1, "loss": 0.5}])
    write_report(run, tmp_path / "without.html")
    Image.new("RGB", (4, 4)).save(files.reconstructions)
    write_report(run, tmp_path / "with.html")
    title = "Autoencoder reconstructions of held-out images"
    assert title not in (tmp_path / "without.html").read_text()
    text = (tmp_path / "with.html").read_text()
    assert title in text
    assert "Pre-training loss by epoch: reconstruction from 0.5 to 0.5." in text


def test_what_is_no_run_or_damaged_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a run directory"):
        write_report(tmp_path, tmp_path / "report.html")
    files = RunDir(tmp_path)
    write_text(files.config, to_yaml(parse_config(PIPELINE, [], origin="x.yaml")))
    files.plan.write_text("{")
    with pytest.raises(ConfigError, match=r"plan\.json"):
        write_report(tmp_path, tmp_path / "report.html")
