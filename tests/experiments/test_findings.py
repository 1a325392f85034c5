"""What the experiments say of their results, on exact cases."""

import numpy as np
from PIL import Image

from experiments import attack_success, cats_vs_dogs, exported, fool_another, ideal_classes
from experiments.findings import markdown, plain
from experiments.fuzz import page as fuzz
from tests.photos import make_photos
from tljax.report.blocks import Table


def test_networks_that_see_nothing_alike_do_not_count():
    document = {"networks": ["a", "b"], "matrices": {"pgd, untargeted": [[1.0, None], [0.5, 1.0]]}}
    assert fool_another.findings(document) == [
        "pgd, untargeted: 100 % of the images fool their maker, 50.0 % another network; "
        "most often those of b fool a (50.0 %)."
    ]
    assert list(fool_another.drawings(document)) == ["pgd-untargeted"]


def test_an_attack_that_never_succeeds_has_no_distance():
    row = {"photos": 9, "success": 0.0, "linf (255ths)": 4.0, "mean l2 of successes": None, "seconds": 2.0}
    document = {
        "config": {"eps": 1 / 255, "model": "net"},
        "targeted": {"fgsm": row},
        "untargeted still right": {"pgd": 0.25},
    }
    _, targeted, _, untargeted = attack_success.findings(document)
    assert targeted.rows == [("fgsm", 9, "0 %", "4", "–", "–", "2")]
    assert untargeted.rows == [("pgd", "25.0 %")]


def test_an_exported_file_is_compared_by_its_worst_photo():
    theirs, ours = np.array([[2.0, 1.0], [0.0, 4.0]]), np.array([[1.9, 1.0], [0.0, -4.0]])
    assert exported.difference(theirs, ours) == 2.0
    assert exported.agreement(theirs, ours) == 0.5


def test_odd_photos_lie_in_every_orientation(tmp_path):
    photos = make_photos(tmp_path / "photos", {"red": 9}, size=(40, 60))
    config = exported.Config(photos=str(photos), count=9)
    files = [Image.open(path) for path in exported.odd_photos(tmp_path, config)]
    assert [file.getexif()[exported.ORIENTATION] for file in files] == [1, 2, 3, 4, 5, 6, 7, 8, 1]
    assert all(side % 2 and exported.SHORTEST <= side <= exported.LONGEST for file in files for side in file.size)
    assert len({file.size for file in files}) == 9


def test_judges_are_summed_up_by_rank():
    images = [{"judges": {"b": {"rank": rank, "prob": 0.1}}} for rank in (1, 4, 9, 10)]
    assert ideal_classes.summaries(images) == [("b", "25.0 %", "50.0 %", "6.5")]


def test_arms_are_compared_on_the_seeds_that_both_have():
    accuracy = {cats_vs_dogs.ALL: [0.90, 0.92, 0.99], cats_vs_dogs.TUNED: [0.92, 0.94]}
    document = {
        "config": {"few": 100},
        "models": ["net"],
        "backbones": {"net": {"photos": 2000, "accuracy": accuracy}},
    }
    _, arms, gains = cats_vs_dogs.findings(document)
    assert arms.rows == [(cats_vs_dogs.ALL, "93.7 ± 11.7 %"), (cats_vs_dogs.TUNED, "93.0 ± 12.7 %")]
    assert gains.rows == [("80 % of all photos: tuned over the probe alone", "2.0 ± 0.0", 2)]


def test_hostile_files_are_counted_over_all_kinds():
    kinds = {"zip": {"accepted": 1, "refused": 9, "slowest": 0.5}, "png": {"refused": 10, "hang": 1, "slowest": 5.0}}
    document = {"inputs": 21, "seconds": 3.0, "failures": {"crash": 0, "hang": 1}, "kinds": kinds}
    words, kinds = fuzz.findings(document)
    assert words == "21 hostile files in 3 s: 19 refused in one line, 1 read, 1 failures."
    assert kinds.rows == [("zip", 1, 9, 0, 0, 0, 0, 0, "0.50"), ("png", 0, 10, 0, 1, 0, 0, 0, "5.00")]


def test_what_was_found_is_read_in_a_terminal_and_as_markdown():
    found = ["Two sizes.", Table(["name", "size"], [("a", 1024), ("longer", "5 m")]), "No more."]
    assert plain(found) == "Two sizes.\n\nname    size\na       1,024\nlonger  5 m\n\nNo more."
    assert markdown(found) == (
        "Two sizes.\n\n| name | size |\n| --- | --- |\n| a | 1,024 |\n| longer | 5 m |\n\nNo more."
    )
