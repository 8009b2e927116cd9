"""How much of the development set a network answers right, without leaving PyTorch."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import nn

from corpus import Corpus, Intent, Message, holds
from vocabulary import Vocabulary

"""As far into an answer that it is told from every other one."""
tokens_of_answer = 30


@dataclass
class Case:
    intent: Intent
    messages: list[Message]


def cases(corpus: Corpus) -> list[Case]:
    rng = random.Random(1)
    return [Case(intent, messages(corpus, intent, question, rng)) for intent in corpus.intents for question in intent.development]


def messages(corpus: Corpus, intent: Intent, question: str, rng: random.Random) -> list[Message]:
    said: list[Message] = []
    for before in corpus.openings(intent, rng):
        said.append({"role": "user", "content": corpus.question(before, rng, plain=True)})
        said.append({"role": "assistant", "content": before.answer})
    return [*said, {"role": "user", "content": question}]


def right_share(net: nn.Module, corpus: Corpus, vocabulary: Vocabulary) -> str:
    groups: dict[str, list[bool]] = defaultdict(list)
    for case, answer in answered(net, corpus, vocabulary, cases(corpus)):
        is_right = answer is not None and all(holds(fact, answer) for fact in case.intent.facts)
        groups[case.intent.group].append(is_right)
        groups["all"].append(is_right)
    groups["all"] = groups.pop("all", [])
    return ", ".join(f"{name} {100 * sum(right) / max(1, len(right)):.0f} % of {len(right)}" for name, right in groups.items())


def answered(net: nn.Module, corpus: Corpus, vocabulary: Vocabulary, asked: list[Case]) -> list[tuple[Case, str | None]]:
    """The taught answer that each greedy one begins like, if there is one."""
    taught = {tuple(vocabulary.encode(intent.answer)[:tokens_of_answer]): intent.answer for intent in corpus.intents}
    asked = sorted(asked, key=lambda case: len(vocabulary.encode_prompt(case.messages)))
    found: list[tuple[Case, str | None]] = []
    for begin in range(0, len(asked), 64):
        part = asked[begin : begin + 64]
        prompts = [vocabulary.encode_prompt(case.messages) for case in part]
        for case, said in zip(part, greedy(net, prompts)):
            matching = [answer for ids, answer in taught.items() if tuple(said[: len(ids)]) == ids]
            found.append((case, matching[0] if matching else None))
    return found


@torch.no_grad()
def greedy(net: nn.Module, prompts: list[list[int]]) -> list[list[int]]:
    longest = max(len(prompt) for prompt in prompts) + tokens_of_answer
    tokens = torch.zeros(len(prompts), longest, dtype=torch.long)
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
    rows = torch.arange(len(prompts))
    for at in range(tokens_of_answer):
        last = torch.zeros_like(tokens, dtype=torch.bool)
        last[rows, lengths + at - 1] = True
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(tokens[:, : int(lengths.max()) + at], last[:, : int(lengths.max()) + at])
        tokens[rows, lengths + at] = logits.argmax(dim=1)
    return [tokens[row, length : length + tokens_of_answer].tolist() for row, length in enumerate(lengths)]
