"""Settings of training for tests: small, plain, without anything drawn."""

from nogps.model.settings import Augmentation
from nogps.train.settings import TrainSettings

TRAINING = TrainSettings(
    seed=0,
    backbone="a network of two layers",
    weights="none",
    image_size=32,
    loss="softmax",
    smoothing_km=75.0,
    class_balance=0.0,
    decoding="class_mean",
    epochs=3,
    head_epochs=0,
    batch_size=16,
    lr=1e-3,
    head_lr=1e-3,
    layer_decay=0.72,
    warmup=0.1,
    head_weight_decay=0.0,
    weight_decay=0.0,
    ema_decay=0.0,
    augment=Augmentation(crop=0.5, colour=0.2, erase=0.0),
    patience=100,
    precision="fp32",
)
