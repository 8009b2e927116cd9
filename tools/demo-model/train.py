"""Trains a demo model from nothing: train.py ID FOLDER leaves the vocabulary and the weights in the folder."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from corpus import Corpus
from demo_models import DemoModel, demo_models
from networks import network
from vocabulary import Vocabulary, end_of_text

seed = 20_240
threads = 1
warmup_steps = 60
final_share = 0.02
weight_decay = 0.05
dialogues_per_pool = 600
report_every = 50

"""In place of a token that the model is not to learn."""
unlearned = -100


def batches(model: DemoModel, corpus: Corpus, vocabulary: Vocabulary, rng: random.Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Dialogues of similar length side by side, so that little is padding. Every twentieth batch has them as long as the context."""
    longest = model.shape.context
    pad = vocabulary.id(end_of_text)
    while True:
        pool = [vocabulary.encode_dialogue(corpus.dialogue(turns(rng), rng)) for _ in range(dialogues_per_pool)]
        pool.sort(key=lambda dialogue: len(dialogue[0]))
        groups: list[list[tuple[numpy.ndarray, numpy.ndarray]]] = [[]]
        for dialogue in pool:
            if (len(groups[-1]) + 1) * len(dialogue[0]) > model.tokens_per_step:
                groups.append([])
            groups[-1].append(dialogue)
        for _ in range(max(1, len(groups) // 20)):
            count = max(1, model.tokens_per_step // longest)
            groups.append([vocabulary.encode_dialogue(corpus.dialogue(longest // 45, rng)) for _ in range(count)])
        rng.shuffle(groups)
        for group in groups:
            yield collate(group, longest, pad)


def turns(rng: random.Random) -> int:
    return rng.choices([1, 2, 3, 4, 6], [0.45, 0.25, 0.15, 0.1, 0.05])[0]


def collate(group: list[tuple[numpy.ndarray, numpy.ndarray]], longest: int, pad: int) -> tuple[Tensor, Tensor]:
    """Tokens and, shifted by one, what follows them where the model is to learn it."""
    length = min(longest, max(len(ids) for ids, _ in group))
    tokens = torch.full((len(group), length), pad)
    targets = torch.full((len(group), length), unlearned)
    for row, (ids, said) in enumerate(group):
        count = min(length, len(ids))
        tokens[row, :count] = torch.from_numpy(ids[:count])
        following = torch.from_numpy(numpy.where(said, ids, unlearned)[1:count])
        targets[row, : len(following)] = following
    return tokens, targets


def learning_rate(step: int, model: DemoModel) -> float:
    if step < warmup_steps:
        return model.peak_learning_rate * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (model.steps - warmup_steps)
    return model.peak_learning_rate * (final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * progress)))


def train(model: DemoModel, folder: Path) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    corpus = Corpus(model.language)
    vocabulary = Vocabulary.train(corpus, model.shape.vocabulary, rng)
    vocabulary.save(str(folder / "vocabulary.json"))
    net = network(model.shape)
    print(f"{model.id}: {sum(weights.numel() for weights in net.parameters()):,} parameters, {len(corpus.intents)} intents", flush=True)
    matrices = [weights for weights in net.parameters() if weights.dim() == 2]
    others = [weights for weights in net.parameters() if weights.dim() != 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    source = batches(model, corpus, vocabulary, rng)
    started, losses = time.monotonic(), []
    for step in range(model.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, model)
        tokens, targets = next(source)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(tokens, targets != unlearned)
        loss = functional.cross_entropy(logits.float(), targets[targets != unlearned])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % report_every == 0:
            recent = sum(losses[-report_every:]) / report_every
            print(f"step {step + 1}/{model.steps}: loss {recent:.4f}, {time.monotonic() - started:.0f} s", flush=True)
    torch.save(net.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    train(demo_models[sys.argv[1]], Path(sys.argv[2]))
