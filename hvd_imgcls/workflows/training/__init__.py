"""The chapters of a training: beginning, model, fitting, outcome. `hvd_imgcls.train` tells it."""
