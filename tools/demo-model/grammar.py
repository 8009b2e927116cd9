"""Question templates: `(a|b)` is one of both, `[a]` is a or nothing, `{name}` a word of a list, `#name` something made up."""

from __future__ import annotations

import random
import re
import string
from dataclasses import dataclass
from typing import Callable

_pieces = re.compile(r"\\(.)|([(\[|)\]])|\{(\w+)\}|#(number|gibberish|words)|([^\\(\[|)\]{#]+|[{#])")


@dataclass(frozen=True)
class Grammar:
    """The word lists that templates refer to."""

    words: dict[str, "Choice"]

    def expand(self, template: "Choice", rng: random.Random) -> str:
        return re.sub(r"\s+", " ", template.sample(self, rng)).replace(" ,", ",").strip()


@dataclass(frozen=True)
class Choice:
    alternatives: tuple[tuple["Part", ...], ...]

    def sample(self, grammar: Grammar, rng: random.Random) -> str:
        parts = rng.choice(self.alternatives)
        return "".join(part if isinstance(part, str) else part.sample(grammar, rng) for part in parts)


@dataclass(frozen=True)
class Word:
    name: str

    def sample(self, grammar: Grammar, rng: random.Random) -> str:
        return grammar.words[self.name].sample(grammar, rng)


@dataclass(frozen=True)
class MadeUp:
    kind: str

    def sample(self, grammar: Grammar, rng: random.Random) -> str:
        return _makers[self.kind](grammar, rng)


Part = str | Choice | Word | MadeUp


def parse(template: str) -> Choice:
    tokens = list(_pieces.finditer(template))
    choice, end = _alternatives(tokens, 0, template)
    if end != len(tokens):
        raise ValueError(f"a bracket too many in: {template}")
    return choice


def _alternatives(tokens: list[re.Match[str]], at: int, template: str) -> tuple[Choice, int]:
    alternatives: list[tuple[Part, ...]] = []
    parts: list[Part] = []
    while at < len(tokens):
        escaped, bracket, word, made_up, text = tokens[at].groups()
        if bracket in (")", "]"):
            break
        at += 1
        if bracket == "|":
            alternatives.append(tuple(parts))
            parts = []
        elif bracket is not None:
            inner, at = _alternatives(tokens, at, template)
            if at == len(tokens) or tokens[at].group() != {"(": ")", "[": "]"}[bracket]:
                raise ValueError(f"a bracket is not closed in: {template}")
            at += 1
            parts.append(inner if bracket == "(" else Choice(((inner,), ())))
        elif word is not None:
            parts.append(Word(word))
        elif made_up is not None:
            parts.append(MadeUp(made_up))
        else:
            parts.append(escaped or text)
    return Choice((*alternatives, tuple(parts))), at


def parse_words(lines: list[str]) -> Grammar:
    """Lines `name: a | b`; one that starts with `|` goes on with the one above."""
    joined: list[str] = []
    for line in lines:
        if line.startswith(" |"):
            joined[-1] += line
        elif line and not line.startswith("#"):
            joined.append(line)
    lists = (line.split(":", 1) for line in joined)
    return Grammar({name: Choice(tuple((word.strip(),) for word in words.split("|"))) for name, words in lists})


def _number(_: Grammar, rng: random.Random) -> str:
    return str(rng.choice([rng.randint(0, 12), rng.randint(0, 100), rng.randint(0, 9999)]))


def _gibberish(_: Grammar, rng: random.Random) -> str:
    consonants, vowels = "bcdfghjklmnpqrstvwxz", "aeiouy"
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 12)))
    if kind == 1:
        return "".join(rng.choice(consonants) + rng.choice(vowels) for _ in range(rng.randint(2, 4)))
    if kind == 2:
        row = rng.choice(["asdfghjkl", "qwertyuiop", "zxcvbnm"])
        return "".join(rng.choices(row, k=rng.randint(4, 12)))
    return rng.choice(string.ascii_lowercase) * rng.randint(3, 9)


def _words(grammar: Grammar, rng: random.Random) -> str:
    lists = [grammar.words[name] for name in ("thing", "food", "city", "person", "film", "team") if name in grammar.words]
    return " ".join(rng.choice(lists).sample(grammar, rng).removeprefix("a ") for _ in range(rng.randint(1, 4)))


_makers: dict[str, Callable[[Grammar, random.Random], str]] = {
    "number": _number,
    "gibberish": _gibberish,
    "words": _words,
}
