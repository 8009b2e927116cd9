"""A byte-level BPE vocabulary of our own, in the form that llama.cpp calls "gpt2" with the "gpt-2" pre-tokenizer."""

from __future__ import annotations

import json
import random

import numpy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import Corpus, Message

end_of_text, turn_start, turn_end = special_tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

chat_template = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

questions_per_intent = 300

"""How often the encoding of a question leaves out a merge, so that the model sees words in pieces as typing errors leave them."""
merge_dropout = 0.08


class Vocabulary:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokens = [tokenizer.id_to_token(id) for id in range(tokenizer.get_vocab_size())]
        self._tokenizer = tokenizer
        self._careless = Tokenizer.from_str(tokenizer.to_str())
        self._careless.model.dropout = merge_dropout
        self._ids = {text: tokenizer.token_to_id(text) for text in special_tokens}

    @staticmethod
    def train(corpus: Corpus, size: int, rng: random.Random) -> "Vocabulary":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        texts = [corpus.question(intent, rng, plain=True) for intent in corpus.intents for _ in range(questions_per_intent)]
        # What the answers say has to be short: each of their tokens costs time.
        texts += [intent.answer for intent in corpus.intents for _ in range(questions_per_intent // 3)]
        texts += [f"{role}\n" for role in ("system", "user", "assistant")] * questions_per_intent
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special_tokens, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        if tokenizer.get_vocab_size() != size:
            raise ValueError(f"the texts give {tokenizer.get_vocab_size()} tokens, not {size}")
        return Vocabulary(tokenizer)

    @staticmethod
    def load(path: str) -> "Vocabulary":
        return Vocabulary(Tokenizer.from_file(path))

    def save(self, path: str) -> None:
        self._tokenizer.save(path)

    @property
    def merges(self) -> list[str]:
        return [" ".join(pair) for pair in json.loads(self._tokenizer.to_str())["model"]["merges"]]

    def id(self, special: str) -> int:
        return self._ids[special]

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_carelessly(self, text: str) -> list[int]:
        return self._careless.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)

    def prompt_length(self, messages: list[Message]) -> int:
        return len(self.encode_prompt(messages))

    def encode_prompt(self, messages: list[Message]) -> list[int]:
        """The tokens of the chat template with these messages, up to where the answer begins."""
        start, end = self._ids[turn_start], [self._ids[turn_end], *self.encode("\n")]
        turns = ([start, *self.encode(f"{message['role']}\n{message['content']}"), *end] for message in messages)
        return [*(id for turn in turns for id in turn), start, *self.encode("assistant\n")]

    def answer_length(self, answer: str) -> int:
        """The tokens at the end of an encoded dialogue that are its last answer and what closes it."""
        return len(self.encode(answer)) + 1 + len(self.encode("\n"))

    def encode_dialogue(self, messages: list[Message]) -> tuple[numpy.ndarray, numpy.ndarray]:
        """The tokens as the chat template and llama.cpp make them, and which of them the model has to say."""
        ids: list[int] = []
        said: list[bool] = []
        for message in messages:
            is_answer = message["role"] == "assistant"
            head = [self._ids[turn_start], *self.encode(message["role"] + "\n")]
            encode = self.encode if is_answer else self.encode_carelessly
            body = [*encode(message["content"]), self._ids[turn_end]]
            tail = self.encode("\n")
            ids += head + body + tail
            said += [False] * len(head) + [is_answer] * len(body) + [False] * len(tail)
        return numpy.array(ids, dtype=numpy.int64), numpy.array(said)
