"""Training that goes on when hosts fail, leave or come: Horovod's `hvd.elastic`.

    state = hvd.elastic.KerasState(model, batch=0, epoch=0)

    @hvd.elastic.run
    def train(state):
        model.fit(..., epochs=epochs - state.epoch, callbacks=[
            hvd.elastic.UpdateEpochStateCallback(state), hvd.elastic.CommitStateCallback(state)])

    train(state)

Started with `horovodrun --min-np 2 --host-discovery-script ...`. Horovod forms the ranks anew
within the same processes. Here, `horovodrun` starts the whole script anew, and `run` restores what
was committed last, so commits are written to a directory that all hosts must share: below the
working directory, or `HVD_IMGCLS_ELASTIC_DIR`.
"""

from hvd_imgcls.keras.elastic.callbacks import (
    CommitStateCallback,
    UpdateBatchStateCallback,
    UpdateEpochStateCallback,
)
from hvd_imgcls.keras.elastic.running import run
from hvd_imgcls.keras.elastic.states import KerasState, ObjectState, State, TensorFlowKerasState

__all__ = [
    "CommitStateCallback",
    "KerasState",
    "ObjectState",
    "State",
    "TensorFlowKerasState",
    "UpdateBatchStateCallback",
    "UpdateEpochStateCallback",
    "run",
]
