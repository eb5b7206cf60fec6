"""Pipelines and plans for tests."""

PIPELINE = """
data: {source: {name: digits}}
model: {name: small_cnn}
optimizer: {name: sgd}
schedule: {name: cosine, base_learning_rate: 0.4, warmup_epochs: 2}
train: {global_batch_size: 64, num_epochs: 20}
"""
