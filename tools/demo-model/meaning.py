"""Where the embeddings begin: tokens that lead to the same answers are near each other, which saves the network most of its way."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional

from corpus import Corpus
from vocabulary import Vocabulary

batches = 500
questions_per_batch = 256
learning_rate = 0.01
follow_up_share = 0.15

"""Of each number, as the other weights begin."""
spread = 0.02


def first_embeddings(corpus: Corpus, vocabulary: Vocabulary, width: int, rng: random.Random) -> Tensor:
    """Learned by telling the answer from the mean of a question's embeddings alone, in any order of its words."""
    answers = {answer: index for index, answer in enumerate({intent.answer: None for intent in corpus.intents})}
    words = nn.EmbeddingBag(len(vocabulary.tokens), width, mode="mean")
    nn.init.normal_(words.weight, std=0.1)
    tell = nn.Linear(width, len(answers))
    optimizer = torch.optim.Adam([*words.parameters(), *tell.parameters()], lr=learning_rate, fused=True)
    for batch in range(batches):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - batch / batches)
        intents = [corpus.pick_follow_up(rng) if rng.random() < follow_up_share else corpus.pick(rng) for _ in range(questions_per_batch)]
        questions = [torch.tensor(vocabulary.encode_carelessly(corpus.question(intent, rng))) for intent in intents]
        starts = torch.tensor([0, *(len(question) for question in questions[:-1])]).cumsum(0)
        loss = functional.cross_entropy(tell(words(torch.cat(questions), starts)), torch.tensor([answers[intent.answer] for intent in intents]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"embeddings: loss {loss.item():.2f}", flush=True)
    weights = words.weight.detach()
    return weights * (spread / weights.std())
