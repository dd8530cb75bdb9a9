"""The page: what is written into it, and what a browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from report.made import STRUCTURE, comparison, label

from yolo_synth.analysis.similarity.series import LayerSeries
from yolo_synth.difference import page as pages
from yolo_synth.report import page
from yolo_synth.report.figures import inline_svg, svg_of
from yolo_synth.report.html_tables import html_table
from yolo_synth.report.page import write_page
from yolo_synth.report.panel import Finding, Report, Section, Table
from yolo_synth.report.panels import gap, similarity
from yolo_synth.report.panels.gap import DomainGap

LAYERS = 107
CELL = 98, 36  # row and column of the one bright cell
UNDEFINED = 50  # layer without a value
NAMES = ["U-Real/0", "U-Synthetic/0", "U-Real/1", "</script><b>&/0"]


def dark(seed):
    """Return values in thousandths, all different in a row, between -0.2 and 0.3."""
    return np.random.default_rng(seed).permuted(np.arange(-200, 300), axis=0)[:LAYERS] / 1000


def planted(first, second, size=32, probe="Real", seed=0):
    debiased = np.stack([dark(100 * seed + row) for row in range(LAYERS)])
    biased = debiased + np.linspace(0.01, 0.5, LAYERS).round(3)
    debiased[CELL] = biased[CELL] = 1
    if first == second:
        debiased, biased = ((m + m.T) / 2 for m in (debiased, biased))
        for matrix in (debiased, biased):
            matrix[:] = matrix.round(3)
            np.fill_diagonal(matrix, 1)
    else:
        debiased[UNDEFINED] = biased[UNDEFINED] = np.nan
        debiased[:, UNDEFINED] = np.nan
    diagonal = np.diag(debiased)
    low = np.where(np.arange(LAYERS) < 75, diagonal - 0.05, np.nan)
    return comparison(
        *(first, second, biased, debiased, probe, 200, size),
        low=low,
        high=low + 0.1,
        null=np.full(LAYERS, 0.111),
        p=np.full(LAYERS, 0.0001),
        ceiling=np.linspace(0.9, 0.6, LAYERS),
    )


def parted(run, seed):
    """Return a gap whose values are all different, and undefined in one layer."""
    values = np.random.default_rng(seed).permutation(np.arange(LAYERS)) / 50
    values[UNDEFINED] = np.nan
    domains = ("Real", "Synthetic")
    null, p = np.full(LAYERS, 0.05), np.full(LAYERS, 0.01)
    series = LayerSeries(values, null=null, p=p)
    dimensions = (values, values)
    return DomainGap(label(run), domains, (200, 150), 32, STRUCTURE, series, dimensions)


def shown(pairs, gaps=()):
    return [
        similarity.section(similarity.Layers(pairs, {}))._replace(said=["Alike & <b>not</b>."]),
        gap.section(gaps)._replace(said=["Farthest apart in layer 81."]),
    ]


def scorecard():
    rows = [("Table 2", "U-Real"), ("Table 2", "U-Synthetic"), ("Table 3", "max")]
    frame = pd.DataFrame(
        {
            "paper": [0.43, 0.122, 54.4],
            "ours": [0.4, np.nan, 54.399],
            "difference": [-0.03, np.nan, -0.001],
        },
        index=pd.MultiIndex.from_tuples(rows, names=["table", "figure"]),
    )
    return Table("scorecard", "Scorecard.", "The paper's in grey & ours.", frame)


def layer_table():
    columns = pd.MultiIndex.from_product([["Real", "Synthetic"], ["mean", "max"]])
    frame = pd.DataFrame(np.arange(4 * LAYERS).reshape(LAYERS, 4) * 12.5, columns=columns)
    return Table("layers", "Layers.", "", frame)


@pytest.fixture(scope="module")
def pairs():
    return [
        planted(NAMES[0], NAMES[1]),
        planted(NAMES[0], NAMES[1], 416, seed=1),
        planted(NAMES[0], NAMES[2], 416, seed=2),
        planted(NAMES[0], NAMES[3], 416, "Synthetic", seed=3),
        planted(NAMES[0], NAMES[0], 416, seed=4),
    ]


@pytest.fixture(scope="module")
def gaps():
    return [parted(NAMES[0], 1), parted(NAMES[3], 2)]


@pytest.fixture(scope="module")
def report(pairs, gaps):
    return Report(
        "Real & synthetic <images>",
        [Finding("Layers differ at 79 < 86, by 0.5 [0.4, 0.6].", "gap", "Where the domains part")],
        ["other data than the paper's"],
        STRUCTURE,
        [
            *shown(pairs, gaps),
            Section("scorecard", "Scorecard", tables=[scorecard(), layer_table()]),
        ],
    )


@pytest.fixture(scope="module")
def file(report, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(report, path)
    return path


@pytest.fixture(scope="module")
def html(file) -> str:
    return file.read_text(encoding="utf-8")


def test_the_page_names_no_other_file_and_no_address(html):
    for pattern in (
        "://",
        r"\bsrc\s*=",
        "<link",
        "@import",
        r"url\(",
        "fetch",
        "XMLHttp",
        "import\\(",
    ):
        assert not re.search(pattern, html), pattern
    assert "default-src 'none'" in html


def test_fractions_have_three_decimals_though_rounding_makes_one_more_than_1():
    frame = pd.DataFrame({"mean": [1 + 3e-16, 0.5], "spread": [0.0123, 0.0456]})
    assert re.findall("<td>(.*?)</td>", html_table(Table("t", "T", "", frame)).markup) == [
        *("1.000", "0.012"),
        *("0.500", "0.046"),
    ]


def test_names_in_tables_are_text_and_stand_whole():
    name = "<script>alert(1)</script> " * 4 + "& more"
    markup = html_table(Table("t", "T", "", pd.DataFrame({name: [0.5]}, index=[name]))).markup
    assert markup.count(escape(name)) == 2


def test_text_is_text_whatever_is_in_it(html, pairs):
    assert "<h1>Real &amp; synthetic &lt;images&gt;</h1>" in html
    assert "<li>Layers differ at 79 &lt; 86, by 0.5" in html
    assert "<li>Alike &amp; &lt;b&gt;not&lt;/b&gt;.</li>" in html
    assert html.count("</script>") == 4
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html)
    assert json.loads(data[1])["pairs"][3]["second"] == NAMES[3]
    assert "<!--" not in html


def test_the_scorecard_has_the_papers_decimals_and_a_signed_difference(html):
    table = re.search(r'id="table-scorecard">.*?</figure>', html, re.DOTALL)[0]
    plain = table.replace("\N{MINUS SIGN}", "-").replace("\N{EN DASH}", "none")
    assert re.findall(r"<td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>", plain) == [
        ("0.430", "0.400", "-0.030"),
        ("0.122", "none", "none"),
        ("54.4", "54.4", "+0.0"),
    ]
    body = table.partition("<tbody>")[2]
    assert re.findall(r"<th(?: rowspan=.(\d))?.*?>(.*?)</th>", body) == [
        *[("2", "Table 2"), ("", "U-Real")],
        ("", "U-Synthetic"),
        *[("", "Table 3"), ("", "max")],
    ]


def test_column_levels_share_a_cell_and_long_tables_fold(html):
    table = re.search(r'<figure class="table" id="table-layers">.*?</figure>', html, re.DOTALL)[0]
    assert "<summary>All 107 rows</summary>" in table
    assert re.findall(r'colspan="(\d)".*?>(.*?)<', table) == [
        ("2", "Real"),
        ("2", "Synthetic"),
    ]
    assert "<td>5,338</td>" in table  # 427 · 12.5 = 5337.5, no decimals at this size


def test_a_full_study_stays_under_three_megabytes_and_says_its_precision(report, tmp_path, pairs):
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(160, LAYERS, LAYERS)).cumsum(1).cumsum(2)
    smooth = steps / np.abs(steps).max((1, 2), keepdims=True) + rng.normal(0, 0.004, steps.shape)
    pairs = [replace(pairs[0], debiased=matrix, biased=matrix**2) for matrix in smooth.clip(-1, 1)]
    write_page(replace(report, sections=shown(pairs)), tmp_path / "report.html")
    assert 1_500_000 < (tmp_path / "report.html").stat().st_size < 3_000_000
    data = re.search(r'id="data">(.*?)</script>', (tmp_path / "report.html").read_text())
    assert json.loads(data[1])["precision"] in (0.002, 0.005)


def test_a_page_that_is_too_large_at_a_hundredth_is_rounded_to_two(report, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "LIMIT", len(page._page(report, 0.01).encode()))
    write_page(report, tmp_path / "report.html")
    data = re.search(r'id="data">(.*?)</script>', (tmp_path / "report.html").read_text())
    assert json.loads(data[1])["precision"] == 0.02


def test_what_does_not_fit_at_any_precision_is_refused(report, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "LIMIT", 50_000)
    with pytest.raises(ValueError, match=r"report.html: .* leave out some of the 5 comparisons"):
        write_page(report, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_arrays_of_another_network_are_refused(report, tmp_path, pairs):
    series = replace(pairs[0].debiased_series, null=np.zeros(3))
    pair = replace(pairs[0], series={"debiased": series})
    with pytest.raises(ValueError, match=r"U-Real/0 vs U-Synthetic/0: null has shape \[3\]"):
        write_page(replace(report, sections=shown([pair])), tmp_path / "report.html")


# In a browser. Positions are found by colour in what it painted, not asked of the page's own script.


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium with chromedriver on this machine (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"),
        *("disable-background-networking", "disable-component-update", "hide-scrollbars"),
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(driver)
    with webdriver.Chrome(options=options, service=service) as opened:
        yield opened


@pytest.fixture
def opened(browser, file):
    """Return the browser with the page open, 1280 pixels wide, and 416 chosen in both figures."""
    open_page(browser, file, 1280)
    browser.execute_script(
        """document.querySelector("input[name=size][value='416']").click();
        const picker = document.getElementById("picker");
        picker.value = 1;
        picker.dispatchEvent(new Event("change"));"""
    )
    return browser


def open_page(browser, file, width):
    from selenium.webdriver.support.wait import WebDriverWait

    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(file.as_uri())
    ready = "return 'ready' in document.body.dataset"
    WebDriverWait(browser, 10, poll_frequency=0.05).until(lambda b: b.execute_script(ready))
    return browser


def pixels(browser, selector):
    """Return what is painted on a canvas, [height, width, 4]."""
    width, height, data = browser.execute_script(
        """const canvas = document.querySelector(arguments[0]);
        const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const bytes = Array.from(image.data, value => String.fromCharCode(value));
        return [canvas.width, canvas.height, bytes.join("")]""",
        selector,
    )
    return np.frombuffer(data.encode("latin1"), np.uint8).reshape(height, width, 4)


def places(image, colour):
    """Return rows and columns of the pixels within a few steps of a colour."""
    near = np.abs(image[..., :3].astype(int) - colour).max(-1) <= 6
    return np.argwhere(near & (image[..., 3] == 255))


def hover(browser, selector, row, column):
    """Move the mouse over a canvas, to a pixel of what is painted."""
    x, y = browser.execute_script(
        """const canvas = document.querySelector(arguments[0]);
        canvas.scrollIntoView({block: "center"});
        const box = canvas.getBoundingClientRect();
        return [box.left + arguments[2] * box.width / canvas.width,
                box.top + arguments[1] * box.height / canvas.height]""",
        selector,
        float(row),
        float(column),
    )
    event = {"type": "mouseMoved", "x": x, "y": y}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def text(browser, selector):
    return browser.execute_script(
        "return document.querySelector(arguments[0]).innerText", selector
    ).translate({0x2212: "-", 0xD7: "x"})


def test_every_value_arrives_in_the_browser(opened, pairs):
    for number, pair in enumerate(pairs):
        script = f"return [D.pairs[{number}].debiased, D.pairs[{number}].biased].map(m => [...m])"
        arrived = opened.execute_script(script)
        for values, expected in zip(arrived, (pair.debiased, pair.biased), strict=True):
            found = np.array(values, dtype=float).reshape(LAYERS, LAYERS)
            np.testing.assert_allclose(found, expected, atol=0.0005001)
        series = opened.execute_script(f"return [...D.pairs[{number}].row.ceiling]")
        np.testing.assert_allclose(series, pair.debiased_series.ceiling, atol=0.0005001)


def test_hovering_the_gaps_reads_every_network_at_the_layer_under_the_mouse(opened, gaps):
    image = pixels(opened, "#curves-gap canvas")
    curve = places(image, [0x00, 0x72, 0xB2])[:, 1]
    layer = 81
    column = curve.min() + layer * (curve.max() - curve.min()) / (LAYERS - 1)
    hover(opened, "#curves-gap canvas", 60, column)
    said = text(opened, "#tip")
    assert "layer 81, convolution" in said
    for one in gaps:
        assert f"{one.run} {one.series.value[layer]:.3f}" in said


def test_the_page_opens_without_a_complaint_or_a_request(browser, file):
    for log in ("browser", "performance"):
        browser.get_log(log)
    open_page(browser, file, 1280)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    # what the browser's own first page still loads, on a busy machine, is none of ours
    sent = [one["request"]["url"] for one in asked if "chrome:" not in one["documentURL"][:7]]
    assert sent == [file.as_uri()]


@pytest.mark.parametrize("width", [1280, 400])
def test_every_canvas_is_painted_and_nothing_runs_over_the_side(browser, file, width):
    open_page(browser, file, width)
    colours = browser.execute_script(
        """return [...document.querySelectorAll("canvas")].map(canvas => {
          const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return new Set(new Uint32Array(data.buffer)).size;
        })"""
    )
    assert len(colours) > 12  # ribbon, axis, 2 tracks, map, 5 small maps, colour bar, legends
    assert min(colours) > 1
    assert browser.execute_script("return document.documentElement.scrollWidth") == width


def test_the_style_of_galleries_changes_nothing_else_of_the_page():
    web, shown = Path(page.__file__).parent / "web", Path(pages.__file__).with_name("gallery.html")
    style = re.search("<style>(.*?)</style>", shown.read_text(), re.DOTALL)[1]
    own, others = (
        set(re.findall(r"\.([a-z][a-z-]*)(?=[^}{]*{)", text))
        for text in ((web / "page.css").read_text(), style)
    )
    assert {"card", "scale"} <= own
    assert "tiles" in others
    assert not own & others


YELLOW = (0xFD, 0xE7, 0x25)  # viridis at 1


def test_hovering_the_map_reads_the_cell_under_the_mouse(opened, pairs):
    found = places(pixels(opened, "#map"), YELLOW)
    assert len(found) > 8  # one cell of a few pixels
    hover(opened, "#map", *found.mean(0))
    row, column = CELL
    assert f"layer {row}, route, 52x52" in text(opened, "#cell")
    assert f"layer {column}, shortcut, 52x52" in text(opened, "#cell")
    assert text(opened, "#cell").count("1.000") == 2
    size = np.ptp(found, axis=0).max() + 1  # pixels of a cell
    hover(opened, "#map", *(found.mean(0) + np.array([size, -2 * size])))
    pair = pairs[1]
    assert f"layer {row - 1}, upsample" in text(opened, "#cell")
    assert f"{pair.debiased[row - 1, column - 2]:.3f}" in text(opened, "#cell")
    assert f"{pair.biased[row - 1, column - 2]:.3f}" in text(opened, "#cell")
    hover(opened, "#map", *(found.mean(0) + np.array([0, (UNDEFINED - column) * size])))
    assert "not defined" in text(opened, "#cell")


def test_hovering_a_small_map_reads_the_cell_under_the_mouse(opened):
    canvas = "#gallery .small:nth-child(2) canvas"
    red, green, blue, _ = pixels(opened, canvas).astype(int).transpose(2, 0, 1)
    yellow = np.minimum(red, green) - blue
    place = np.unravel_index(yellow.argmax(), yellow.shape)
    hover(opened, canvas, place[0] + 0.5, place[1] + 0.5)
    assert "U-Real/0: layer 98, route" in text(opened, "#tip")
    assert "U-Synthetic/0: layer 36, shortcut" in text(opened, "#tip")


def test_the_cursor_reads_every_track_at_the_layer_under_the_mouse(opened, pairs):
    bars = places(pixels(opened, "#ribbon"), (0x22, 0x22, 0x22))
    right = bars[bars[:, 1] > bars[:, 1].max() - 4]  # the last detection layer's bar
    hover(opened, "#ribbon", *right.mean(0))
    assert text(opened, "#where").startswith("Layer 106")
    assert "detection" in text(opened, "#where")
    assert "52x52 cells at 416 px" in text(opened, "#where")
    tracks = opened.execute_script(
        "return [...document.querySelectorAll('.track')].map(track => track.innerText)"
    )
    shown = pairs[1:2]  # of seed 0
    assert len(tracks) == len(shown)
    for track, pair in zip(tracks, shown, strict=True):
        read = track.replace("\N{MINUS SIGN}", "-")
        assert f"{pair.first} vs {pair.second}" in read
        assert f"{pair.debiased[106, 106]:.3f}" in read
        assert f"biased {pair.biased[106, 106]:.3f}" in read
        assert "p < 0.001" in read
        assert "two seeds 0.600" in read


def test_the_cursor_follows_the_arrow_keys(opened, pairs):
    from selenium.webdriver.common.keys import Keys

    ribbon = opened.find_element("id", "ribbon")
    ribbon.send_keys(Keys.END, Keys.ARROW_LEFT, Keys.PAGE_UP, Keys.ARROW_LEFT)
    assert text(opened, "#where").startswith("Layer 105")
    ribbon.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    assert ribbon.get_attribute("aria-valuenow") == "1"
    value = f"{pairs[1].debiased[1, 1]:.3f}".replace("-", "\N{MINUS SIGN}")
    assert f"U-Real/0 vs U-Synthetic/0 {value}" in ribbon.get_attribute("aria-valuetext")


def test_the_other_measure_probe_and_size_can_be_chosen(opened):
    opened.execute_script("document.querySelector('input[value=Synthetic]').click()")
    assert [name.text for name in opened.find_elements("css selector", ".track .name")] == [
        f"{NAMES[0]} vs {NAMES[3]}"
    ]
    picture = "return document.getElementById('map').toDataURL()"
    before = opened.execute_script(picture)
    opened.execute_script("document.querySelector('input[value=biased]').click()")
    assert opened.execute_script(picture) != before
    opened.execute_script("document.querySelector('#numbers').open = true")
    opened.implicitly_wait(1)
    assert len(opened.find_elements("css selector", "#numbers tbody tr")) == LAYERS


def test_runs_of_one_seed_are_shown_first_and_others_can_be_chosen(browser, file):
    open_page(browser, file, 1280)
    names = "return [...document.querySelectorAll('.track .name')].map(name => name.innerText)"
    assert browser.execute_script(names) == ["U-Real/0 vs U-Synthetic/0"]
    browser.execute_script("document.querySelector('input[value=\"416\"]').click()")
    browser.execute_script("document.querySelector('input[value=\"across seeds\"]').click()")
    assert browser.execute_script(names) == ["U-Real/0 vs U-Real/1"]
    # no pair of two seeds at this size: what there is stands there
    browser.execute_script("document.querySelector('input[name=size][value=\"32\"]').click()")
    assert browser.execute_script(names) == ["U-Real/0 vs U-Synthetic/0"]


def test_the_card_stands_first_and_each_sentence_leads_to_its_section(opened, html):
    assert html.index('id="findings"') < html.index('id="layers"')
    sentence = opened.find_element("css selector", ".card li")
    assert "0.5\N{NO-BREAK SPACE}[0.4,\N{NO-BREAK SPACE}0.6]." in html
    link = sentence.find_element("css selector", "a")
    assert link.text == "Where the domains part"
    link.click()
    assert opened.execute_script(
        "return document.querySelector(location.hash).closest('section').innerText"
    ).startswith("Where the domains part")
    opened.execute_script("history.replaceState(null, '', location.pathname)")


def test_each_paragraph_and_each_table_stands_in_its_section(html):
    sections = re.findall(r'<section aria-labelledby="(.*?)">(.*?)</section>', html, re.DOTALL)
    assert [key for key, _ in sections] == ["layers", "gap", "scorecard"]
    of = dict(sections)
    assert of["layers"].index('id="tracks"') < of["layers"].index("<li>Alike")
    assert of["layers"].index("<li>Alike") < of["layers"].index('id="matrices"')
    assert of["gap"].index("Figure 4.") < of["gap"].index("<li>Farthest apart in layer 81.</li>")
    assert html.count("Farthest apart in layer 81.") == 1
    assert 'id="table-scorecard"' in of["scorecard"]
    for key in ("findings", *of):
        assert f'<a href="#{key}">' in html.partition("</nav>")[0]


def test_a_report_without_pairs_has_its_text(browser, report, tmp_path):
    write_page(replace(report, sections=()), tmp_path / "report.html")
    browser.get_log("browser")
    browser.get((tmp_path / "report.html").as_uri())
    assert browser.get_log("browser") == []
    assert "Layers differ at 79 < 86, by 0.5" in text(browser, "main")
    assert not browser.find_elements("id", "figures")


def test_without_scripts_the_page_shows_how_alike_the_networks_are(html):
    picture = re.search(r"<noscript>.*?(<svg.*?</svg>)\s*</noscript>", html, re.DOTALL)[1]
    assert "U-Real/0 vs U-Synthetic/0" in picture
    assert "<path" in picture
    assert "clip-path" not in picture


def test_the_page_and_its_script_know_no_measure_by_name():
    for path in (Path(page.__file__).parent / "web").glob("*.js"):
        script = path.read_text()
        for word in ("MMD", "CKA", "jackknife", "partial", "biased", "ceiling"):
            assert word not in script, (path.name, word)


def test_each_figure_can_be_saved_as_svg_and_as_png(opened, tmp_path):
    from selenium.webdriver.support.wait import WebDriverWait

    hover(opened, "#map", 300, 300)  # the cross hair is of the page, not of the figure
    allow = {"behavior": "allow", "downloadPath": str(tmp_path)}
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", allow)
    blocks = len(opened.find_elements("css selector", "#gallery .pair"))
    assert blocks == 4
    buttons = opened.find_elements("css selector", ".saving button")
    assert len(buttons) == 2 * (blocks + 4)  # each pair's maps, all maps, tracks, map, curves
    for number in range(len(buttons)):
        script = f"document.querySelectorAll('.saving button')[{number}].click()"
        opened.execute_script(script)
        WebDriverWait(opened, 20).until(
            lambda _, want=number + 1: (
                sum(p.suffix in (".svg", ".png") for p in tmp_path.iterdir()) == want
            )
        )
    pictures = {path.stem: ElementTree.parse(path) for path in tmp_path.glob("*.svg")}
    words = {name: "".join(tree.getroot().itertext()) for name, tree in pictures.items()}
    images = {
        name: len(list(tree.iter("{http://www.w3.org/2000/svg}image")))
        for name, tree in pictures.items()
    }
    assert "U-Real/0 vs U-Synthetic/0, Real, 416 px" in words["tracks"]
    assert "backbone, layers 0" in words["tracks"]
    assert "two seeds of one model" in words["tracks"]
    assert "U-Real/0 vs U-Synthetic/0, Real, 416 px, Debiased CKA" in words["map"]
    assert "layer of U-Synthetic/0" in words["map"]
    assert images["map"] == 1
    assert images["maps_U-Real_0_vs_U-Synthetic_0"] == 2
    assert "Real, 32 px" in words["maps_U-Real_0_vs_U-Synthetic_0"]
    assert images["all_maps"] == 5
    for name in ("U-Real/0 vs U-Real/1", "U-Real/0 with itself", "</script><b>&/0"):
        assert name in words["all_maps"]
    (curves,) = (words[name] for name in words if not re.match("tracks|map|all", name))
    assert "U-Real/0" in curves  # the legend
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.glob("*.png"))
    assert opened.get_log("browser") == []


def test_a_saved_picture_is_twice_as_fine_as_the_page_and_shows_all_maps(opened, tmp_path):
    from matplotlib.image import imread
    from selenium.webdriver.support.wait import WebDriverWait

    allow = {"behavior": "allow", "downloadPath": str(tmp_path)}
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", allow)
    opened.execute_script("document.querySelector('#gallery + .saving button + button').click()")
    file = tmp_path / "all_maps.png"
    WebDriverWait(opened, 20).until(lambda _: file.is_file())
    picture = (255 * imread(file)).astype(np.uint8)
    small = opened.execute_script("return document.querySelector('#gallery canvas').width")
    yellow = places(picture, YELLOW)
    bright = [row for row in np.unique(yellow[:, 0]) if (yellow[:, 0] == row).sum() > 1]
    rows = np.split(bright, np.flatnonzero(np.diff(bright) > small) + 1)
    assert len(rows) >= 4  # of each pair's maps
    assert picture.shape[1] > 2 * small


def test_a_figure_in_a_page_is_the_figure_to_hundredths_of_a_point():
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.plot(np.linspace(0, 1, 99), np.sin(np.linspace(0, 9, 99)) / 3, label="a name")
    axes.fill_between([0, 1], [0.1, 0.2], [0.3, 0.71])
    axes.legend()
    whole, inline = svg_of(figure), inline_svg(figure)
    assert len(inline) < 0.8 * len(whole)

    def paths(svg):
        shapes = re.findall(r' d="([^"]*)"', svg)
        return [re.findall("[A-Za-z]", shape) for shape in shapes], [
            float(number) for shape in shapes for number in re.findall(r"-?\d+(?:\.\d+)?", shape)
        ]

    (commands, numbers), (same, rounded) = paths(whole), paths(inline)
    assert same == commands
    np.testing.assert_allclose(rounded, numbers, atol=0.00501)
    root = ElementTree.fromstring(inline.replace("xlink:", ""))
    assert "a name" in "".join(root.itertext())
