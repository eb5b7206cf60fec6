import json

import numpy as np
import pytest

from hvd_imgcls.errors import CheckpointError
from hvd_imgcls.state_registry import StateRegistry, of_the_root


class Counter:
    def __init__(self, value=0):
        self.value = value

    def state(self):
        return {"value": self.value}

    def restore(self, state):
        self.value = state["value"]


def test_states_go_to_their_owners_in_the_order_of_registration():
    restored = []

    class Notes(Counter):
        def restore(self, state):
            super().restore(state)
            restored.append(self.value)

    first, second = StateRegistry(), StateRegistry()
    for number, name in enumerate(("position", "model", "optimizer")):
        first.register(name, Counter(number))
        second.register(name, Notes(), combine=of_the_root if name == "model" else None)
    states = json.loads(json.dumps(first.states()))
    second.restore(dict(reversed(states.items())))
    assert restored == [0, 1, 2]
    assert second.names == ["position", "model", "optimizer"]
    assert list(second.states(only_differing=True)) == ["model"]


def test_a_name_is_taken_once():
    registry = StateRegistry()
    registry.register("model", Counter())
    with pytest.raises(ValueError, match="'model'"):
        registry.register("model", Counter())
    registry.keep_only()
    registry.register("model", Counter())


@pytest.mark.parametrize("states", [{}, {"a": {}, "b": {}}, {"b": {}}])
def test_states_of_another_run_are_refused(states):
    registry = StateRegistry()
    registry.register("a", Counter())
    with pytest.raises(CheckpointError, match="expected a;"):
        registry.restore(states)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (object(), "owner.value: object"),
        ((1, 2), "owner.value: tuple"),
        ([{"x": {1, 2}}], r"owner.value\[0\].x: set"),
        ({3: 4}, "owner.value: the key 3"),
        (np.float32(1), "owner.value: float32"),
        (np.array([object()]), "owner.value: an array of Python objects"),
    ],
)
def test_what_is_neither_json_nor_an_array_is_refused(value, where):
    registry = StateRegistry()
    registry.register("owner", Counter(value))
    with pytest.raises(TypeError, match=where):
        registry.states()


def test_arrays_and_json_are_taken():
    registry = StateRegistry()
    registry.register("owner", Counter([None, True, 1, 0.5, "a", np.zeros(2), {"b": []}]))
    assert list(registry.states()) == ["owner"]
