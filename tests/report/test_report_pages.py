"""The pages of a run, of the demonstration and of synthesis, from records as the commands make them."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tljax.report import comparison_page, demo_page, explanation_page, run_page, synth_page
from tljax.report.blocks import Bars, Card, Figure, Numbers, Pictures, Row, Slider, Table, Text

PHOTO = np.random.default_rng(0).integers(0, 256, (70, 70, 3), dtype=np.uint8)
CLASSES = ["Cat <1>", 'Dog "2"', "Fox"]
RUN = {
    "title": "pets & co",
    "classes": CLASSES,
    "model": "efficientnet_lite0",
    "mode": "linear_probe",
    "data": "photos/pets",
    "seconds": 12.5,
    "train_images": 30,
    "val_images": 4,
    "probs": np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]),
    "labels": np.array([0, 1, 1, 2]),
    "files": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
    "wrong": [
        {"image": PHOTO, "file": "pets/Dog/b\udce9.jpg", "true": CLASSES[1], "predicted": CLASSES[0], "prob": 0.7}
    ],
    "sheet": [{"image": PHOTO, "file": "pets/Cat/9.jpg", "class": CLASSES[0]}],
    "unsure": [{"image": PHOTO, "file": "pets/Cat/8.jpg", "true": CLASSES[0], "predicted": CLASSES[0], "prob": 0.6}],
    "folds": None,
    "l2": 0.01,
    "l2_path": [{"l2": l2, "val_accuracy": 0.9, "val_loss": 0.3} for l2 in (1e-4, 0.01, 1.0)],
    "curve": None,
    "learning_curve": {
        "sizes": [400, 800, 1600],
        "accuracy": [0.9, 0.92, 0.94],
        "low": [0.8, 0.85, 0.9],
        "high": [0.95, 0.96, 1],
        "photos": 2000,
        "twice": 0.955,
        "gain": 0.012,
        "gain_interval": [0.004, 0.021],
    },
    "feature_maps": [("stem", np.ones((6, 6, 40), np.float32))],
    "photo": PHOTO,
    "skipped": [("Cat/666.jpg", "empty file")],
    "duplicates": [("Cat/1.jpg", "Cat/7.jpg"), "Dog/2.jpg = Dog/3.jpg"],
}


def flatten(blocks):
    for block in blocks:
        yield block
        if isinstance(block, Row | Card):
            yield from flatten(block.blocks)


def of_kind(sections, kind):
    return [block for section in sections for block in flatten(section.blocks) if isinstance(block, kind)]


def test_run_page_shows_every_part(tmp_path):
    text = run_page.write(tmp_path / "report.html", RUN).read_text(encoding="utf-8")
    for part in (
        "<title>pets &amp; co</title>", "efficientnet_lite0 · linear probe · photos/pets", "75.0 %", "12 s",
        "Cat &lt;1&gt;, 70.0 %", "really Dog &quot;2&quot; · b\ufffd.jpg", "stem", "6 × 6, 32 of 40 channels",
        "A photo of Cat &lt;1&gt;: 9.jpg", "really Cat &lt;1&gt; · 8.jpg", "least certain",
        "Cat/666.jpg", "empty file", "Cat/1.jpg = Cat/7.jpg", "Dog/2.jpg = Dog/3.jpg",
    ):  # fmt: skip
        assert part in text


def test_run_page_counts_from_probabilities():
    sections = run_page.sections(RUN)
    tiles = {label: value for label, value, _ in of_kind(sections, Numbers)[0].numbers}
    assert tiles["Accuracy"] == "75.0 %"
    assert tiles["Balanced"] == "83.3 %"
    assert tiles["Calibration"] == "32.5 %"  # (0.7 + 3 * 0.2) / 4
    assert tiles["Training photos"] == "30"
    notes = {label: note for label, _, note in of_kind(sections, Numbers)[0].numbers}
    assert notes["Accuracy"] == "validation photos; 95 % interval 30.1 % to 95.4 %"
    (by_folds, *_) = of_kind(run_page.sections({**RUN, "folds": 5, "tuned": True}), Numbers)[0].numbers
    assert by_folds[2].startswith("photos of 5 folds held out, before fine-tuning; 95 % interval")
    mistakes = of_kind(sections, Table)[0]
    assert mistakes.rows == [('Dog "2"', "Cat <1>", 1, "50.0 %")]


@pytest.mark.parametrize("part", [key for key in RUN if key != "classes"])
def test_run_page_does_without_any_part(part):
    absent = run_page.sections({key: value for key, value in RUN.items() if key != part})
    unknown = run_page.sections({**RUN, part: None})
    assert [section.title for section in absent] == [section.title for section in unknown]
    assert absent[0].title == "At a glance"


def test_cost_tiles_show_what_is_known():
    record = {"classes": ["a", "b"], "train_images": 1600, "val_images": 400, "seconds": 38.2}
    assert run_page.cost_tiles(record) == [
        ("Classes", "2", ""),
        ("Training photos", "1,600", "400 to validate"),
        ("Time", "38 s", ""),
    ]
    assert run_page.cost_tiles({}) == []


def test_run_page_of_the_bare_minimum(tmp_path):
    assert [section.title for section in run_page.sections({"classes": CLASSES})] == ["At a glance"]
    text = run_page.write(tmp_path / "p.html", {"classes": CLASSES}).read_text(encoding="utf-8")
    assert "<title>A trained classifier</title>" in text


def test_run_page_shows_the_learning_curve_of_fine_tuning():
    record = {
        **RUN,
        "l2_path": None,
        "curve": [{"step": s, "epoch": 0, "loss": 1.0, "accuracy": 0.5} for s in range(3)],
    }
    alts = [figure.alt for figure in of_kind(run_page.sections(record), Figure)]
    assert "Accuracy and training loss against the training step" in alts
    assert not any("L2" in alt for alt in alts)


def test_run_page_says_what_more_photos_would_bring():
    (figure,) = [one for one in of_kind(run_page.sections(RUN), Figure) if "by training photos" in one.alt]
    assert figure.alt.endswith("90.0 % of 400, 92.0 % of 800, 94.0 % of 1,600, 95.5 % of 4,000")
    assert figure.caption.startswith("Twice the photos: about +1.2 points (0.4 to 2.1). ")
    captions = [one.caption for one in of_kind(run_page.sections({**RUN, "tuned": True}), Figure)]
    assert any(caption.startswith("Twice the photos, before fine-tuning: ") for caption in captions)


def attack(**extra):
    changed = PHOTO.copy()
    changed[0, 0, 0] = PHOTO[0, 0, 0] // 2 + 60
    return {
        "pictures": {"original": PHOTO, "adversarial": changed},
        "source": {"name": "golden retriever", "prob": 0.9},
        "adversarial": {"name": "Siamese cat", "prob": 0.99, "linf": 4 / 255, "l2": 3.2},
        "eps": 4 / 255,
        "norm": "linf",
        "steps": 40,
        **extra,
    }


IDEAL = [
    {
        "class": "zebra",
        "image": PHOTO,
        "prob": 0.999,
        "judges": {"lite1": {"prob": 0.9, "rank": 1}, "squeezenet": {"prob": 0.01, "rank": 12}},
    },
    {"class": "tabby", "image": PHOTO, "prob": 0.5, "judges": {}},
]
TASK = {"features": 0.95, "pixels": 0.25, "seconds": 9.0, "classes": ("a", "b"), "images": [(PHOTO, "a"), (PHOTO, "b")]}
DEMO = {
    "model": "efficientnet_lite0",
    "seconds": 100.0,
    "classify": {"image": PHOTO, "top": [{"index": 281, "name": "tabby", "prob": 0.6}, {"name": "lynx", "prob": 0.1}]},
    "textures": TASK,
    "digits": {**TASK, "features": 0.9, "pixels": 0.97, "images": [np.zeros((8, 8), np.uint8)]},
    "ideal": IDEAL,
    "attack": attack(),
}


def test_demo_page_says_what_transfer_adds(tmp_path):
    text = demo_page.write(tmp_path / "p.html", DEMO).read_text(encoding="utf-8")
    assert "+70.0" in text
    assert "-7.0" in text
    assert "tabby" in text
    assert "1 min 40 s" in text
    pictures = of_kind(demo_page.sections(DEMO), Pictures)
    assert [len(block.pictures) for block in pictures] == [2, 1]


@pytest.mark.parametrize("part", list(DEMO))
def test_demo_page_does_without_any_part(part):
    sections = demo_page.sections({key: value for key, value in DEMO.items() if key != part})
    own_section = part in ("classify", "textures", "digits", "ideal", "attack")
    assert len(sections) == len(demo_page.sections(DEMO)) - own_section


def test_ideal_page_shows_judges_apart_from_the_maker(tmp_path):
    text = synth_page.write_ideal(tmp_path / "p.html", {"images": IDEAL, "model": "lite0", "steps": 256}).read_text(
        "utf-8"
    )
    assert "99.9 % says its maker" in text
    assert "lite0 · 256 steps" in text
    assert "No other network was asked." in text
    bars = next(block for block in flatten(synth_page.ideal_blocks(IDEAL)) if isinstance(block, Bars)).bars
    assert [(bar.label, bar.value, bar.note, bar.strong) for bar in bars] == [
        ("lite1", 0.9, "1st", True),
        ("squeezenet", 0.01, "rank 12", False),
    ]


def test_attack_page_compares_exact_pictures(tmp_path):
    text = synth_page.save_attack(tmp_path, attack()).read_text(encoding="utf-8")
    assert np.asarray(Image.open(tmp_path / "side-by-side.png")).shape == (PHOTO.shape[0], 3 * PHOTO.shape[1], 3)
    assert "<title>golden retriever → Siamese cat</title>" in text
    assert "of 4/255 allowed" in text
    assert "image/jpeg" not in text
    slider = next(block for block in flatten(synth_page.attack_blocks(attack())) if isinstance(block, Slider))
    assert slider.before.exact
    assert slider.after.exact


def test_a_failed_attack_is_called_so():
    words = [
        block.text
        for block in synth_page.attack_blocks(attack(success=False, target="zebra"))
        if isinstance(block, Text)
    ]
    assert words == [
        "The attack did not succeed: the network does not see it as zebra. This is the best that was found."
    ]


def test_magnify_is_twenty_times_the_difference_around_grey():
    before = np.array([[[10, 200, 0]]], np.uint8)
    after = np.array([[[13, 198, 255]]], np.uint8)
    assert synth_page.magnify(before, after).tolist() == [[[188, 88, 255]]]
    assert synth_page.magnify(after, before).tolist() == [[[68, 168, 0]]]
    assert (synth_page.magnify(before, before) == 128).all()


def test_robustness_page_has_the_curve_and_its_numbers(tmp_path):
    curve = [{"eps": 0.0, "accuracy": 0.9}, {"eps": 2 / 255, "accuracy": 0.1}]
    text = synth_page.write_robustness(tmp_path / "p.html", {"curve": curve, "images": 100}).read_text(encoding="utf-8")
    assert "<td>2/255</td><td>10.0 %</td>" in text
    assert "of 100 photos" in text


def test_the_package_loads_nothing_by_itself():
    code = "import sys, tljax.report; print([m for m in ('numpy', 'matplotlib', 'jax', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_pages_need_no_jax():
    code = "import sys, tljax.report.demo_page; print([m for m in ('jax', 'matplotlib.pyplot') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_budgets_that_are_near_each_other_have_names_of_their_own(tmp_path):
    curve = [{"eps": eps / 255, "accuracy": 0.5, "interval": [0.4, 0.6]} for eps in (0, 1, 1.0004, 2)]
    text = synth_page.write_robustness(tmp_path / "p.html", {"curve": curve, "images": 100}).read_text(encoding="utf-8")
    assert "<td>1.0004/255</td><td>50.0 %</td><td>40.0 % to 60.0 %</td>" in text
    assert "<td>1/255</td>" in text
    assert "upper bound of the robust accuracy" in text
    assert "no gradient but zero" not in text
    blocks = synth_page.robustness_blocks({"curve": curve, "images": 100, "masked_gradients": 3})
    assert "3 photos show the attack no gradient but zero" in blocks[0].text


def test_the_picture_of_a_channel_is_not_said_to_be_judged(tmp_path):
    image = {"class": "fire5 channel 3", "image": PHOTO, "prob": None, "judges": {}, "activation": 10.94}
    text = synth_page.write_ideal(tmp_path / "p.html", {"images": [image, {**image, "activation": 0.0}]}).read_text(
        "utf-8"
    )
    for part in ("says its maker", "No other network was asked", "Judged by others<", "Only their opinion"):
        assert part not in text
    assert "mean activation 10.94" in text
    assert "never became active" in text


def test_without_judges_nobody_is_said_to_have_judged(tmp_path):
    text = synth_page.write_ideal(tmp_path / "p.html", {"images": [IDEAL[1]]}).read_text("utf-8")
    assert "Only their opinion" not in text
    assert "Not judged by others" in text


def test_an_attack_in_vain_has_no_arrow_between_equal_names(tmp_path):
    same = {"name": "golden retriever", "prob": 0.8, "linf": 4 / 255, "l2": 3.2}
    text = synth_page.save_attack(tmp_path, attack(success=False, adversarial=same)).read_text(encoding="utf-8")
    assert "<title>golden retriever, not fooled</title>" in text


def test_what_speaks_for_is_red_and_what_speaks_against_is_blue():
    heat = np.zeros((20, 20), np.float32)
    heat[:10], heat[10:, 10:] = 1.0, -1.0
    colours = explanation_page.colour_map(heat).astype(int)
    speaks_for, against, nothing = colours[0, 0], colours[-1, -1], colours[-1, 0]
    assert speaks_for[0] - speaks_for[2] > 60
    assert against[2] - against[0] > 60
    assert nothing.min() > 240
    assert explanation_page.colour_map(np.abs(heat))[-1, 0].max() < 10  # without a sign, nothing is dark


@pytest.mark.parametrize(
    ("method", "title"),
    [
        ("grad_cam", "What speaks for tabby"),
        ("saliency", "Which pixels tabby hangs on"),
        ("smoothgrad", "Which pixels tabby hangs on"),
        ("integrated_gradients", "Which pixels made a difference to tabby"),
        ("occlusion", "What covering takes away from tabby"),
    ],
)
def test_an_explanation_says_what_its_map_means_and_when_it_is_empty(tmp_path, method, title):
    heat = np.ones((70, 70), np.float32)
    explanation_page.save_explanation(tmp_path, PHOTO, heat, "tabby", method)
    assert title in (tmp_path / "report.html").read_text("utf-8")
    for empty in (0 * heat, np.nan * heat):
        explanation_page.save_explanation(tmp_path, PHOTO, empty, "tabby", method)
        text = (tmp_path / "report.html").read_text("utf-8")
        assert title not in text
        assert "Nothing found for tabby" in text
        assert "the map is empty" in text


COMPARED = {
    "models": [
        {"name": "large", "accuracy": 0.99, "interval": [0.97, 1.0], "seconds_per_photo": 0.03, "params": 4_800_000,
         "difference": 0.0, "difference_interval": None, "luck": None, "layer": None},
        {"name": "small <1>", "accuracy": 0.98, "interval": [0.95, 0.99], "seconds_per_photo": 0.01, "params": 700_000,
         "difference": 0.01, "difference_interval": [-0.003, 0.02], "luck": True, "layer": "stage5/2x2"},
    ],
    "best": "large",
    "advice": ["Take large: 99.0 %", "small <1> is 1.0 points below and 3.0 times as fast"],
    "images": 1200,
    "classes": CLASSES,
    "folds": 5,
    "skipped": [{"file": "Cat/666.jpg", "reason": "empty file"}],
    "data": "photos/pets",
}  # fmt: skip


def test_the_page_of_a_comparison_names_the_best_and_what_may_be_luck(tmp_path):
    text = comparison_page.write(tmp_path / "report.html", COMPARED).read_text(encoding="utf-8")
    for part in ("photos/pets", "1,200", "small &lt;1&gt; is 1.0 points below", "Cat/666.jpg", "4,800,000"):
        assert part in text
    (table, _) = of_kind(comparison_page.sections(COMPARED), Table)
    assert table.rows[0][1:7:3] == ("last", "–")
    assert table.rows[1][4:7] == ("1.0 points", "-0.3 to 2.0", "yes")
    assert table.rows[1][1] == "stage5/2x2"
    assert len(of_kind(comparison_page.sections({**COMPARED, "skipped": []}), Table)) == 1
