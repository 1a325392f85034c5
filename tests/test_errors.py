"""Names given by people."""

import pytest

from tljax.errors import InputError, match_name, nearest
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
