"""Parts of `train`: start, model, fitting, evaluation and saving."""
