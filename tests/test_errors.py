"""Names given by people."""

import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tljax.errors import InputError, find_name, match_name, nearest
from tljax.models.spec import imagenet_classes


def test_by_name_without_case_and_by_index():
    names = imagenet_classes()
    assert match_name("siamese_cat", names) == 284
    assert match_name("Siamese cat", names) == 284
    assert match_name("284", names) == 284
    assert match_name("3", ("0", "3", "x")) == 1


def test_an_unknown_name_suggests():
    with pytest.raises(InputError, match=r'no class named "siamese": did you mean "Siamese cat" \(284\)'):
        match_name("siamese", imagenet_classes())
    assert nearest("zebre", imagenet_classes())[0] == "zebra"


def test_an_ambiguous_name_lists_its_indices():
    with pytest.raises(InputError, match=r"134 .* 517"):
        match_name("crane", imagenet_classes())


def test_an_index_out_of_range():
    with pytest.raises(InputError, match="there are 1000"):
        match_name(1000, imagenet_classes())


def test_a_name_of_several_lines_leaves_the_message_one_line():
    assert str(InputError('no file "a\nb"')) == 'no file "a b"'


@given(st.text("éÉaß_ 1", min_size=1, max_size=3), st.sampled_from(["NFC", "NFD"]), st.sampled_from([str.upper, str]))
@example("château", "NFD", str)
@example("Cats", "NFC", str.upper)
@example("ß", "NFC", str.upper)
def test_a_name_is_found_in_any_form(name, form, case):
    assume(name.strip("_ ") and not name.strip().isdigit())
    names = [unicodedata.normalize("NFC", name), "another"]
    assert match_name(unicodedata.normalize(form, case(name)), names) == 0


def test_an_exact_name_wins_over_its_twin():
    composed, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    names = ["Cats", "cats", composed, apart, "maine_coon", "maine coon", "1", "01"]
    assert [match_name(name, names) for name in names] == list(range(8))
    with pytest.raises(InputError, match='0 "Cats", 1 "cats"'):
        match_name("CATS", names)
    assert find_name("5", names) is None
