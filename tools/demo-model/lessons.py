"""What the training reads: mostly a question and only so much of its answer as tells it from all others, as the rest follows from that."""

from __future__ import annotations

import random

import numpy

from corpus import Corpus, Intent, Message
from vocabulary import Vocabulary

Lesson = tuple[numpy.ndarray, numpy.ndarray]

shares = {"question": 0.8, "behind another": 0.16, "dialogue": 0.04}

"""Of the questions behind another: how many need it."""
follow_up_share = 0.7
tokens_beyond_decision = 2


class Lessons:
    def __init__(self, corpus: Corpus, vocabulary: Vocabulary) -> None:
        self.corpus = corpus
        self.vocabulary = vocabulary
        answers = {intent.answer: tuple(vocabulary.encode(intent.answer)) for intent in corpus.intents}
        self._decided = {answer: decided(ids, [*answers.values()]) for answer, ids in answers.items()}

    def any(self, rng: random.Random) -> Lesson:
        kind = rng.choices([*shares], [*shares.values()])[0]
        if kind == "dialogue":
            turns = rng.choices([1, 2, 3, 4, 6], [0.45, 0.25, 0.15, 0.1, 0.05])[0]
            return self.vocabulary.encode_dialogue(self.corpus.dialogue(turns, rng))
        if kind == "question":
            return self._short([self.corpus.pick(rng)], rng)
        if rng.random() < follow_up_share:
            follow_up = self.corpus.pick_follow_up(rng)
            return self._short([*self.corpus.openings(follow_up, rng), follow_up], rng)
        return self._short([self.corpus.pick(rng), self.corpus.pick(rng)], rng)

    def long(self, rng: random.Random, turns: int) -> Lesson:
        return self.vocabulary.encode_dialogue(self.corpus.dialogue(turns, rng))

    def _short(self, intents: list[Intent], rng: random.Random) -> Lesson:
        messages: list[Message] = self.corpus.system_messages(rng)
        for intent in intents:
            messages.append({"role": "user", "content": self.corpus.question(intent, rng)})
            messages.append({"role": "assistant", "content": intent.answer})
        ids, said = self.vocabulary.encode_dialogue(messages)
        learned = self._decided[intents[-1].answer] + tokens_beyond_decision
        begin = len(ids) - self.vocabulary.answer_length(intents[-1].answer)
        said[:begin] = False
        return ids[: begin + learned], said[: begin + learned]


def decided(answer: tuple[int, ...], others: list[tuple[int, ...]]) -> int:
    """How many tokens of an answer no other one begins with."""
    return next((count for count in range(1, len(answer)) if sum(other[:count] == answer[:count] for other in others) == 1), len(answer))
