import numpy as np
import pytest

from stoker.errors import DamagedModelError
from stoker.kinds.openvino.build.encoding import Tensor
from stoker.kinds.openvino.build.stacked import Stacked, stackable


class Tensors(dict):
    def tensor(self, name):
        if name not in self:
            raise DamagedModelError(f"tensor {name} is missing")
        return self[name]

    def names(self):
        return tuple(self)


def checkpoint(**dtypes):
    data = {name: np.full((2, 3), number, np.float32) for number, name in enumerate(dtypes)}
    return Tensors({f"{n}.weight": Tensor(f"{n}.weight", dtypes[n], (2, 3), each) for n, each in data.items()})


def test_the_rows_of_all_parts_in_their_order():
    whole = Stacked(checkpoint(q="F32", k="F32"), "both", ["k", "q"]).tensor("both.weight")
    assert whole.shape == (4, 3)
    assert whole.dtype == "F32"
    assert whole.data[:, 0].tolist() == [1, 1, 0, 0]


def test_other_tensors_are_the_checkpoints():
    stacked = Stacked(checkpoint(q="F32", k="F32"), "both", ["q", "k"])
    assert stacked.tensor("q.weight").data[0, 0] == 0
    assert "both.weight" in stacked
    assert "v.weight" not in stacked
    with pytest.raises(DamagedModelError):
        stacked.tensor("v.weight")


@pytest.mark.parametrize(
    ("dtypes", "possible"),
    [({"q": "F32", "k": "F32"}, True), ({"q": "F32", "k": "BF16"}, False), ({"q": "F32"}, False)],
)
def test_only_matrices_of_one_type_that_are_all_there(dtypes, possible):
    assert stackable(checkpoint(**dtypes), ["q", "k"]) is possible
