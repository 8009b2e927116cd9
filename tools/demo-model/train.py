"""Trains a demo model from nothing: train.py ID FOLDER leaves the vocabulary and the weights in the folder."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from corpus import Corpus
from average import Average
from demo_models import DemoModel, demo_models
from development import right_share
from lessons import Lessons
from meaning import first_embeddings
from networks import network
from vocabulary import Vocabulary, end_of_text

seed = 20_240
threads = 2
warmup_steps = 100
falling_share = 0.6
weight_decay = 0.05
matrix_learning_rate = 0.01
lessons_per_pool = 2000
report_every = 50
develop_every = 250

"""How often a token of what was asked is hidden, or is another one, so that an answer does not hang on one word, nor on a strange one."""
hidden_share = 0.06
strange_share = 0.04

"""In place of a token that the model is not to learn."""
unlearned = -100


def batches(model: DemoModel, lessons: Lessons, rng: random.Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Lessons of similar length side by side, so that little is padding. One batch in sixty has dialogues as long as the context."""
    longest = model.shape.context
    pad = lessons.vocabulary.id(end_of_text)
    while True:
        pool = [lessons.any(rng) for _ in range(lessons_per_pool)]
        pool.sort(key=lambda dialogue: len(dialogue[0]))
        groups: list[list[tuple[numpy.ndarray, numpy.ndarray]]] = [[]]
        for dialogue in pool:
            if (len(groups[-1]) + 1) * len(dialogue[0]) > model.tokens_per_step:
                groups.append([])
            groups[-1].append(dialogue)
        for _ in range(max(1, len(groups) // 60)):
            count = max(1, model.tokens_per_step // longest)
            groups.append([lessons.long(rng, longest // 45) for _ in range(count)])
        rng.shuffle(groups)
        for group in groups:
            yield collate(group, longest, pad)


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


def disturb(tokens: Tensor, targets: Tensor, vocabulary: int) -> Tensor:
    """Puts the token of the end, or any other, in place of some that the model does not say."""
    is_asked = functional.pad(targets[:, :-1], (1, 0), value=unlearned) == unlearned
    chance = torch.rand(tokens.shape)
    strange = torch.randint_like(tokens, vocabulary)
    disturbed = torch.where(chance < strange_share, strange, tokens).masked_fill(chance > 1 - hidden_share, 0)
    return torch.where(is_asked, disturbed, tokens)


def share_of_peak(step: int, steps: int) -> float:
    """Of the learning rate: it rises, stays, and falls in the last part of the training."""
    return min(1, (step + 1) / warmup_steps, (steps - step) / (steps * falling_share))


def optimizers(net: nn.Module, peak_learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for what is inside the blocks, where it needs half the steps that AdamW does; AdamW for tokens, positions, norms and biases."""
    named = list(net.named_parameters())
    inside = [weights for name, weights in named if weights.dim() == 2 and name.startswith("blk.")]
    tables = [weights for name, weights in named if weights.dim() == 2 and not name.startswith("blk.")]
    vectors = [weights for _, weights in named if weights.dim() != 2]
    groups = [{"params": tables, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(inside, lr=matrix_learning_rate, weight_decay=weight_decay),
        torch.optim.AdamW(groups, lr=peak_learning_rate, betas=(0.9, 0.98), fused=True),
    ]


def train(model: DemoModel, folder: Path) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    corpus = Corpus(model.language)
    vocabulary = Vocabulary.train(corpus, model.shape.vocabulary, random.Random(seed))
    vocabulary.save(str(folder / "vocabulary.json"))
    net = network(model.shape)
    net.token_embd.weight.data = first_embeddings(corpus, vocabulary, model.shape.width, rng)
    print(f"{model.id}: {sum(weights.numel() for weights in net.parameters()):,} parameters, {len(corpus.intents)} intents", flush=True)
    both = optimizers(net, model.peak_learning_rate)
    schedules = [LambdaLR(optimizer, lambda step: share_of_peak(step, model.steps)) for optimizer in both]
    average = Average(net)
    source = batches(model, Lessons(corpus, vocabulary), rng)
    started, losses = time.monotonic(), []
    for step in range(model.steps):
        tokens, targets = next(source)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(disturb(tokens, targets, model.shape.vocabulary), targets != unlearned)
        loss = functional.cross_entropy(logits.float(), targets[targets != unlearned])
        net.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for optimizer, schedule in zip(both, schedules):
            optimizer.step()
            schedule.step()
        average.follow(net)
        losses.append(loss.item())
        if (step + 1) % report_every == 0:
            recent = sum(losses[-report_every:]) / report_every
            print(f"step {step + 1}/{model.steps}: loss {recent:.4f}, {time.monotonic() - started:.0f} s", flush=True)
        if (step + 1) % develop_every == 0 or step + 1 == model.steps:
            print(f"development set: {right_share(average.net, corpus, vocabulary)}", flush=True)
            torch.save(average.net.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    train(demo_models[sys.argv[1]], Path(sys.argv[2]))
