"""Folders as people have them: which are splits, which are classes, and which are neither."""

import os
import re
import string
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from experiments.fuzz.runs import make_run
from tests.photos import make_photos
from tljax.data.layout import split_of
from tljax.data.sources import open_source
from tljax.errors import InputError

WORDS = {
    "train": ["train", "training", "trainval"],
    "val": ["val", "valid", "validation", "dev", "development", "validating"],
    "test": ["test", "testing", "tests", "holdout", "hold_out", "held-out", "eval"],
}
FORMS = [
    *("{}", "{}_set", "{}set", "{}-images", "{}_data", "{}Data", "images_{}", "{}2017", "{} photos", "dataset_{}"),
    *("{}_1", "1_{}", "01-{}", "{} (80%)", "My {} Pictures", "{}_256", "{}80", "{}.imgs"),
]
CASES = [str, str.title, str.upper]
LITTER = ["docs", "sample_submission", "seg_pred", "annotations", "code"]


def lay(root, tree):
    """Writes files (their content is not looked at) below `root`: a dict is a folder, a number so many photos."""
    for name, inside in tree.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(inside, dict):
            lay(folder, inside)
            continue
        names = [f"{i:04d}.jpg" for i in range(inside)] if isinstance(inside, int) else inside
        for file in names:
            (folder / file).write_bytes(b"x")
    return root


def opened(tree, **options):
    with TemporaryDirectory() as root:
        return open_source(lay(Path(root), tree), **options)


def refused(tree, **options):
    with pytest.raises(InputError) as caught:
        opened(tree, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def counts(source):
    return {name: np.bincount(source.labels[where]).tolist() for name, where in source.splits.items()}


PETS = {"cats": 3, "dogs": 2}


@st.composite
def split_names(draw):
    """The names of a training folder and one or two others, written alike, and their splits."""
    form, case = draw(st.sampled_from(FORMS)), draw(st.sampled_from(CASES))
    prefix = draw(st.sampled_from(["", "", "seg_", "pets-"]))
    kinds = draw(st.sampled_from([("train", "val"), ("train", "test"), ("train", "val", "test")]))
    return {prefix + form.format(case(draw(st.sampled_from(WORDS[kind])))): kind for kind in kinds}


@given(names=split_names(), wrap=st.sampled_from(["", "images", "pets"]), twice=st.booleans(), litter=st.booleans())
@example(names={"training_set": "train", "test_set": "test"}, wrap="", twice=False, litter=False)
@example(names={"seg_train": "train", "seg_test": "test"}, wrap="", twice=True, litter=True)
@example(names={"train": "train", "val": "val"}, wrap="images", twice=False, litter=True)
@example(names={"Train_1": "train", "Hold_Out_1": "test"}, wrap="", twice=False, litter=False)
@example(names={"train": "train", "development": "val"}, wrap="", twice=False, litter=False)
@example(names={"train (80%)": "train", "held-out (20%)": "test"}, wrap="pets", twice=True, litter=False)
def test_splits_are_known_by_all_usual_names(names, wrap, twice, litter):
    tree = {name: {name: PETS} if twice else PETS for name in names}
    tree = {wrap: tree} if wrap else tree
    if litter:
        tree["seg_pred"], tree["docs"] = 4, ["a.txt"]
    source = opened(tree)
    assert source.classes == ("cats", "dogs")
    assert counts(source) == {split: [3, 2] for split in names.values()}
    said = " ".join(source.notes)
    assert all(f"{name}" in said for name in names)
    assert not litter or ('"seg_pred"' in said and '"docs"' in said)


@given(
    prefix=st.sampled_from(["X", "ABC", "pets", "Pets", "my2", "Ü"]),
    suffix=st.sampled_from(["", "Set", "_set", "2", "Data"]),
    word=st.sampled_from([(word, kind) for kind, words in WORDS.items() for word in words if word.isalpha()]),
)
@example(prefix="ABC", suffix="", word=("train", "train"))
def test_a_prefix_may_be_glued_to_a_capital(prefix, suffix, word):
    assert split_of(f"{prefix}{word[0].title()}{suffix}") == (word[1], prefix.casefold().rstrip("2"))


@given(st.text(string.ascii_letters + "_- ", min_size=1, max_size=12))
@example("trains")
@example("invalid")
@example("contest")
@example("latest")
def test_a_word_that_only_holds_a_splits_name_is_none(name):
    words = {word for forms in WORDS.values() for word in forms} | {"trn", "tst", "heldout"}
    assume(not any(word in name.lower().replace("_", "").replace(" ", "").replace("-", "") for word in words))
    assert split_of(name) is None


@pytest.mark.parametrize("name", ["trains", "invalid", "contest", "latest", "train_test", "validity", "devil"])
def test_names_that_are_no_splits(name):
    assert split_of(name) is None


@pytest.mark.parametrize(
    "tree",
    [
        {"train": 3, "bus": 3, "car": 3},
        {"valid": 3, "invalid": 3},
        {"test": 3, "control": 3},
        {"test_tube": 3, "train_wheel": 3, "bolt": 2},
        {"train_cats": 3, "train_dogs": 3},
    ],
)
def test_classes_may_be_called_like_a_split(tree):
    source = opened(tree)
    assert source.splits == {}
    assert set(source.classes) == set(tree)


@given(names=split_names(), wrapped=st.booleans())
@example(names={"val": "val", "test": "test"}, wrapped=True)
def test_classes_that_look_like_splits_are_refused(names, wrapped):
    said = refused(dict.fromkeys(names, 3))
    assert "look like splits" in said
    assert "--label-regex" in said
    assert all(name in said for name in names)


@given(st.lists(st.sampled_from(["cats", "dogs", "Birds", "maine coon", "1"]), min_size=2, max_size=4, unique=True))
def test_equally_named_folders_in_two_classes_are_refused(inner):
    said = refused({"day1": dict.fromkeys(inner, 2), "day2": dict.fromkeys(inner, 3)})
    assert "equally named" in said
    assert "--label-regex" in said
    refused({name: {"train": 2, "test": 2} for name in inner})


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": {"train": PETS}, "b": {"train": PETS}}, '"a", "b" all hold folders of splits'),
        ({"train": PETS, "unlabeled": 4}, '"train" looks like a split'),
        ({"train": {"steam": 2, "electric": 2}, "bus": 3, "car": 3}, '"train" looks like a split'),
        ({"train1": 3, "train2": 3}, "look like splits"),
        ({"a": {"b": PETS}}, 'did you mean ".*/a/b"'),
    ],
)
def test_what_may_be_either_is_refused(tree, message):
    assert re.search(message, refused(tree))


@pytest.mark.parametrize("name", ["test", "validation_set", "Train"])
@pytest.mark.parametrize("wrap", [True, False])
def test_a_split_alone_is_no_class(name, wrap):
    source = opened({"pets": {name: PETS}} if name == "Train" and wrap else {name: PETS}, min_classes=1)
    assert source.classes == ("cats", "dogs")
    assert any(f"{name}" in note for note in source.notes)
    assert opened({name: {"cats": 2}}, min_classes=1).classes == ("cats",)


def test_masks_of_splits_are_no_splits():
    source = opened({"train": PETS, "train_masks": PETS, "test": PETS, "test_masks": PETS})
    assert counts(source) == {"train": [3, 2], "test": [3, 2]}
    assert any('"train_masks"' in note for note in source.notes)


def test_one_folder_of_the_same_name_in_each_class_is_no_harm():
    source = opened({"n01": {"images": 3}, "n02": {"images": 2}})
    assert np.bincount(source.labels).tolist() == [3, 2]


@given(
    beside=st.sampled_from(
        ["masks", "annotations", "Annotation", "SegmentationClass", "labels", "train_labels", "xmls"]
    ),
    suffix=st.sampled_from([".png", "_mask.png", ".xml", ".txt"]),
    number=st.integers(2, 6),
)
@example(beside="annotations", suffix=".png", number=2)
def test_photos_and_their_masks_are_no_classes(beside, suffix, number):
    notes = [f"{i:04d}{suffix}" for i in range(number)]
    said = refused({"images": number, beside: notes})
    assert beside in said
    assert "--label-regex" in said
    cats, dogs = ([f"{name}{i}.jpg" for i in range(number)] for name in ("c", "d"))
    both = [name.replace(".jpg", suffix) for name in (*cats, *dogs)]
    source = opened({"cats": cats, "dogs": dogs, beside: both})
    assert source.classes == ("cats", "dogs")
    assert any(beside in note for note in source.notes)


@given(
    end=st.sampled_from(["_mask", "-mask", " GT", "_seg", "_annotation", "_mask_1", "_mask 2", "_labels"]),
    suffix=st.sampled_from([".jpg", ".png", ""]),
    number=st.integers(1, 3),
    regex=st.sampled_from([None, "^(.)"]),
)
@example(end="_mask_1", suffix=".png", number=1, regex=None)
def test_masks_beside_their_photos_are_no_photos(end, suffix, number, regex):
    tree = {
        name: [f"{name[0]}{i}.jpg" for i in range(3)] + [f"{name[0]}{i}{end}{suffix}" for i in range(number)]
        for name in ("cats", "dogs")
    }
    source = opened(tree, label_regex=regex)
    assert np.bincount(source.labels).tolist() == [3, 3]
    assert any("as masks of the photos beside them" in note and f"c0{end}{suffix}" in note for note in source.notes)
    alone = {"covered": ["a_mask.jpg", "b_mask.jpg"], "bare": ["a.jpg", "c.jpg"]}
    assert len(opened(alone).files) == 4


@pytest.mark.parametrize("beside", ["meta", "annotations", "attributes"])
def test_folders_of_classes_beside_notes_are_named(beside):
    said = refused({"images": PETS, beside: ["a.txt"]})
    assert 'give "images" as DATA' in said
    source = opened({name: {"images": PETS, beside: ["a.txt"]} for name in ("train", "test")})
    assert counts(source) == {"train": [3, 2], "test": [3, 2]}
    said = refused({"images": {"train": 3, "val": 3}, "labels": {"train": ["0.txt"], "val": ["1.txt"]}})
    assert "as DATA" not in said


def test_a_class_called_mask_is_not_left_out_in_silence():
    tree = {"mask": 5, "helmet": 5, "gloves": 5}
    assert 'rename "mask" if it is a class' in refused(tree)
    assert len(opened({**tree, "mask": ["m1.jpg", "m2.jpg"]}).classes) == 3


@given(st.sampled_from([".xml", ".mat", ".json", ".npy", ".TXT"]))
def test_a_folder_without_photos_is_no_class_whatever_its_name(suffix):
    said = refused({"images": 3, "stuff": [f"{i}{suffix}" for i in range(3)]})
    assert "holds no photos" in said


def test_classes_that_share_file_names_train():
    assert opened({"Cat": 12, "Dog": 12}).classes == ("Cat", "Dog")
    assert opened({"with_mask": 12, "without_mask": 12}).classes == ("with_mask", "without_mask")


def test_labels_from_file_names():
    names = [f"{breed}_{i}.jpg" for breed in ("Abyssinian", "american_bulldog") for i in (1, 2, 12)]
    tree = {"images": [*names, "readme.txt", "odd.jpg"], "annotations": [f"{n[:-4]}.png" for n in names]}
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    both = [f"{apart}_1.jpg", f"{composed}_2.jpg", "b_1.jpg"]
    assert opened({"images": both}, label_regex=f"^({apart}|b)_").classes == ("b", composed)
    for regex in (r"^(.+)_\d+\.jpg$", r"^(?P<breed>.+)_(\d+)\.jpg$", r"images/(.+)_\d+\.jpg$", r"^()?(?P<x>.+)_\d+"):
        source = opened(tree, label_regex=regex)
        assert source.classes == ("Abyssinian", "american_bulldog"), regex
        assert len(source.files) == 6
        assert any('"images/odd.jpg"' in note for note in source.notes)
        assert any('"annotations"' in note for note in source.notes)
    source = opened({"train": names, "test": names[:4]}, label_regex=r"^(.+)_\d+\.jpg$")
    assert counts(source) == {"train": [3, 3], "test": [3, 1]}
    assert "no group" in refused(tree, label_regex="x")
    assert "no regular expression" in refused(tree, label_regex="(x")
    assert "matches none of 7 files" in refused(tree, label_regex="^(x)$")
    with pytest.raises(InputError, match="without --labels"):
        open_source("digits", label_regex="(.)")
    assert "--label-regex" in refused({".": names})


@pytest.mark.parametrize("unlabelled", [{"unknown": 4}, 4, {"1": 2, "2": 2}])
def test_an_unlabelled_test_folder_blocks_nothing(unlabelled):
    source = opened({"train": PETS, "test": unlabelled})
    assert counts(source) == {"train": [3, 2]}
    assert any("is not used" in note and "test" in note for note in source.notes)
    assert counts(opened({"train": PETS, "val": PETS, "test": unlabelled})) == {"train": [3, 2], "val": [3, 2]}


def test_a_class_that_only_val_has_suggests_the_nearest():
    assert 'did you mean "cats"' in refused({"train": PETS, "val": {"cat s": 1, "dogs": 1}})


def test_small_classes_are_left_out():
    source = opened({**PETS, "birds": 1}, min_photos=2)
    assert source.classes == ("cats", "dogs")
    assert any('"birds" (1)' in note for note in source.notes)
    assert "has a single class" in refused({**PETS, "birds": 1}, min_photos=3)
    assert 'fewer than 9 photos: "cats" (3), "dogs" (2)' in refused(PETS, min_photos=9)


def test_an_empty_class_folder_matters_to_training_only():
    assert "no photos in the class folder" in refused({"cats": 3, "dogs": {}})
    source = opened({"cats": 3, "dogs": {}}, min_classes=1)
    assert source.classes == ("cats",)
    assert any('"dogs"' in note for note in source.notes)


def test_folders_that_tljax_wrote_are_left_out(tmp_path):
    make_photos(tmp_path, {"cats": 2, "dogs": 2})
    make_run(tmp_path / "run")
    make_run(tmp_path / "cats" / "my run" / "again")
    make_run(tmp_path / "other.partial" / "run")
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "report.html").write_text('<head><meta name="generator" content="tljax">')
    make_photos(tmp_path / "shown", {"x": 2})
    source = open_source(tmp_path)
    assert (source.classes, len(source.files)) == (("cats", "dogs"), 4)
    assert all(name in source.notes[0] for name in ("run", "cats/my run/again", "other.partial", "shown"))
    make_photos(tmp_path / "mine", {"x": 2})
    (tmp_path / "mine" / "report.html").write_text("<head>my holidays")
    assert "mine" in open_source(tmp_path).classes


@given(
    st.lists(st.sampled_from(["château", "Ångström", "naïve", "plain", "가방"]), min_size=2, unique=True),
    st.sampled_from(["NFC", "NFD"]),
    st.sampled_from(["NFC", "NFD"]),
    st.sampled_from([str, str.upper]),
)
@example(["château", "plain"], "NFC", "NFD", str)
def test_names_in_either_normal_form_are_one_class(names, train, val, case):
    tree = {
        "train": {unicodedata.normalize(train, name): 3 for name in names},
        "val": {unicodedata.normalize(val, case(name)): 1 for name in names},
    }
    source = opened(tree)
    assert set(source.classes) == {unicodedata.normalize("NFC", name) for name in names}
    assert counts(source)["val"] == [1] * len(names)


def test_both_normal_forms_at_once_are_one_class_and_said():
    twins = [unicodedata.normalize(form, "château") for form in ("NFC", "NFD")]
    source = opened({**dict.fromkeys(twins, 2), "plain": 2})
    assert source.classes == ("château", "plain")
    assert any("Unicode" in note for note in source.notes)


def test_twins_that_differ_in_case_keep_apart():
    tree = {"train": {"Cats": 2, "cats": 2}, "val": {"cats": 1, "Cats": 2}}
    with TemporaryDirectory() as root:
        if len(os.listdir(lay(Path(root), tree) / "train")) < 2:
            pytest.skip("the file system does not tell case")
    source = opened(tree)
    assert counts(source) == {"train": [2, 2], "val": [2, 1]}
    assert 'kept apart, though they differ in case only: "Cats", "cats"' in source.notes
    assert "names 2 entries" in refused({**tree, "val": {"CATS": 1}})


NAMES = st.one_of(
    st.sampled_from([*WORDS["train"], *WORDS["test"], "cats", "dogs", "images", "masks", "Cats", "unknown", "run"]),
    st.text("aZé_1 ", min_size=1, max_size=3).filter(lambda name: name.strip() == name),
)
TREES = st.recursive(
    st.one_of(st.integers(0, 2), st.lists(st.sampled_from(["a_1.jpg", "a.xml", "b", "c_2.png"]), unique=True)),
    lambda inside: st.dictionaries(NAMES, inside, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, TREES, max_size=4), st.sampled_from([None, r"(.)_\d", "^(.+?)/"]))
def test_any_tree_gives_classes_or_is_refused(tree, regex):
    try:
        source = opened(tree, label_regex=regex)
    except InputError:
        return
    assert len(source.classes) > 1
    assert set(source.labels) == set(range(len(source.classes)))
    parts = [i for where in source.splits.values() for i in where]
    assert len(parts) == len(set(parts))
