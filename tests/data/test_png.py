import numpy as np
import pytest

from tljax.data.images import preprocess, read_photo
from tljax.data.png import file_stem, read_png, save_png, through_png
from tljax.errors import InputError
from tljax.models.spec import get_spec

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)


def test_every_pixel_comes_back(tmp_path):
    assert (through_png(PICTURE) == PICTURE).all()
    assert (read_png(save_png(tmp_path / "a.png", PICTURE)) == PICTURE).all()


def test_a_photo_is_read_as_the_network_sees_it(tmp_path):
    spec = get_spec("squeezenet1_1")
    path = save_png(tmp_path / "a.png", PICTURE)
    assert (read_photo(path, spec) == preprocess(PICTURE, spec)).all()
    (tmp_path / "text.jpg").write_text("hello")
    for name in ("text.jpg", "gone.jpg"):
        with pytest.raises(InputError, match=name):
            read_photo(tmp_path / name, spec)


@pytest.mark.parametrize(
    ("name", "stem"), [("Siamese cat", "Siamese-cat"), ("a/../b", "a-b"), ("??", "class"), ("x" * 99, "x" * 60)]
)
def test_class_names_as_file_names(name, stem):
    assert file_stem(name) == stem
