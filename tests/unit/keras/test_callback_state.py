"""A restored callback decides as the one that was saved."""

import keras
import pytest

from hvd_imgcls.keras.state.callback_state import CallbackState

LOSSES = [1.0, 0.9, 0.95, 0.85, 0.95, 0.9, 0.84]


def make(kind):
    # The changes are smaller than `min_delta`, but for the first epoch.
    callback = kind("loss", patience=3, min_delta=0.2)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    callback.set_model(model)
    callback.on_train_begin()
    return callback


@pytest.mark.parametrize("kind", [keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau])
@pytest.mark.parametrize("num_before", [0, 1, 2, 3])
def test_a_metric_that_improves_too_little_counts_as_before(kind, num_before):
    whole, then = make(kind), make(kind)
    for epoch, loss in enumerate(LOSSES):
        whole.on_epoch_end(epoch, {"loss": loss})
    for epoch, loss in enumerate(LOSSES[:num_before]):
        then.on_epoch_end(epoch, {"loss": loss})
    restored = make(kind)
    CallbackState(restored).restore(CallbackState(then).state())
    for epoch, loss in list(enumerate(LOSSES))[num_before:]:
        restored.on_epoch_end(epoch, {"loss": loss})
    for name in ("best", "wait", "min_delta"):
        assert getattr(restored, name) == getattr(whole, name), name


def test_a_table_that_is_continued_has_one_header(tmp_path):
    path = tmp_path / "metrics.csv"

    def of_one_epoch(epoch, state=None):
        callback = keras.callbacks.CSVLogger(str(path), append=True)
        callback.on_train_begin()
        if state is not None:
            CallbackState(callback).restore(state)
        callback.on_epoch_end(epoch, {"loss": 0.5, "val_loss": 0.25})
        saved = CallbackState(callback).state()
        callback.on_train_end()
        return saved

    of_one_epoch(1, of_one_epoch(0))
    assert path.read_text().splitlines() == ["epoch,loss,val_loss", "0,0.5,0.25", "1,0.5,0.25"]
