"""What the two demo models are: the one place for their shapes and how long each learns."""

from __future__ import annotations

from dataclasses import dataclass

from networks import Shape


@dataclass(frozen=True)
class DemoModel:
    id: str
    name: str
    description: str
    language: str
    shape: Shape
    steps: int
    peak_learning_rate: float
    tokens_per_step: int = 2048


english = DemoModel(
    id="llamapod-demo",
    name="llamapod demo",
    description="Built-in demo of llamapod: answers questions about llamapod in English, and nothing else.",
    language="en",
    shape=Shape("llama", vocabulary=4096, context=2048, width=320, layers=3, heads=5, key_value_heads=5, feed_forward=640),
    steps=6600,
    peak_learning_rate=2e-3,
)

swedish = DemoModel(
    id="llamapod-demo-sv",
    name="llamapod demo, Swedish",
    description="Second built-in demo of llamapod: answers a few questions about llamapod in Swedish, and nothing else.",
    language="sv",
    shape=Shape("gpt2", vocabulary=2048, context=512, width=192, layers=4, heads=3, key_value_heads=3, feed_forward=768),
    steps=4000,
    peak_learning_rate=2e-3,
)

demo_models = {model.id: model for model in (english, swedish)}
