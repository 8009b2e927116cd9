"""The data as intents: questions, the answer to them, and facts that a right answer holds."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from grammar import Choice, Grammar, parse, parse_words
from held_out import held_out
from surface import Surface

folder = Path(__file__).parent / "data"

Message = dict[str, str]


@dataclass
class Intent:
    name: str
    group: str
    answer: str = ""
    weight: float = 1
    facts: list[str] = field(default_factory=list)
    """Names of the intents behind which this one makes sense; empty where it needs none."""
    after: list[str] = field(default_factory=list)
    questions: list[Choice] = field(default_factory=list)
    """Questions kept out of the training, to see what a change of data or training is good for."""
    development: list[str] = field(default_factory=list)
    """Of an intent that is there once for each model: which model."""
    model: str | None = None
    aliases: tuple[str, ...] = ()


class Corpus:
    def __init__(self, language: str) -> None:
        self.language = language
        source = folder / language
        self.grammar: Grammar = parse_words(_lines(source / "words.txt"))
        self.surface = Surface(source / "surface.txt")
        models = [_model(line) for line in _lines(source / "models.txt") if not line.startswith("#")]
        self.intents: list[Intent] = []
        for path in sorted(source.glob("*.txt")):
            if path.stem not in ("words", "models", "surface"):
                self.intents += [one for block in _blocks(path) for one in _each_model(block, path.stem, models)]
        self._check()
        kept = [case["question"] for case in held_out(language)] + [one for intent in self.intents for one in intent.development]
        self._unseen = {normal(question) for question in kept}
        self._first = [intent for intent in self.intents if not intent.after]
        self._second = [intent for intent in self.intents if intent.after]
        self._follow_ups = {intent.name: self._follow_ups_of(intent) for intent in self.intents}

    def question(self, intent: Intent, rng: random.Random, plain: bool = False) -> str:
        """A way to ask for the intent that is not among those kept out of the training, however it is spelt."""
        while True:
            text = self.grammar.expand(rng.choice(intent.questions), rng)
            if intent.aliases:
                text = text.replace("$model", rng.choice(intent.aliases))
            spelt = text if plain else self.surface.vary(text, rng)
            if self.may_be_seen(text) and self.may_be_seen(spelt):
                return spelt

    def may_be_seen(self, question: str) -> bool:
        return normal(question) not in self._unseen

    def dialogue(self, turns: int, rng: random.Random) -> list[Message]:
        messages = self.system_messages(rng)
        intent: Intent | None = None
        for _ in range(turns):
            intent = self._next(intent, rng)
            messages.append({"role": "user", "content": self.question(intent, rng)})
            messages.append({"role": "assistant", "content": intent.answer})
        return messages

    def system_messages(self, rng: random.Random) -> list[Message]:
        return [{"role": "system", "content": self.surface.system_message(rng)}] if rng.random() < 0.1 else []

    def pick(self, rng: random.Random) -> Intent:
        return rng.choices(self._first, [intent.weight for intent in self._first])[0]

    def pick_follow_up(self, rng: random.Random) -> Intent:
        return rng.choices(self._second, [intent.weight for intent in self._second])[0]

    def openings(self, intent: Intent, rng: random.Random) -> list[Intent]:
        """What has to be asked before, so that this intent makes sense."""
        if not intent.after:
            return []
        before = rng.choice(self._before(intent))
        return [*self.openings(before, rng), before]

    def _next(self, before: Intent | None, rng: random.Random) -> Intent:
        follow_ups = self._follow_ups[before.name] if before is not None else []
        among = follow_ups if follow_ups and rng.random() < 0.4 else self._first
        return rng.choices(among, [intent.weight for intent in among])[0]

    def _follow_ups_of(self, intent: Intent) -> list[Intent]:
        return [other for other in self.intents if intent in self._before(other)]

    def _before(self, intent: Intent) -> list[Intent]:
        names = [f"{name}:{intent.model}" if intent.model else name for name in intent.after]
        return [other for other in self.intents if other.name in names or other.name.split(":")[0] in intent.after and not intent.model]

    def _check(self) -> None:
        """What a typing error in the data would break."""
        complaints = [complaint for intent in self.intents for complaint in self._complaints(intent)]
        answers = {intent.name: intent.answer for intent in self.intents}
        for case in held_out(self.language):
            if not all(holds(fact, answers.get(case["intent"], "")) for fact in case["facts"]):
                complaints.append(f"the held-out question {case['question']!r} wants other facts than {case['intent']} holds")
        if complaints:
            raise ValueError("\n".join(complaints))

    def _complaints(self, intent: Intent) -> Iterator[str]:
        if not intent.questions or not intent.answer or not intent.facts:
            yield f"{intent.name} lacks questions, an answer or facts"
        for fact in intent.facts:
            if not holds(fact, intent.answer):
                yield f"{intent.name}: its own answer does not hold {fact!r}"
        if intent.after and not self._before(intent):
            yield f"{intent.name} follows intents that are not there"
        for other in self.intents:
            comparable = other.facts != intent.facts and other.answer != intent.answer and bool(other.after) == bool(intent.after)
            if comparable and all(holds(fact, other.answer) for fact in intent.facts):
                yield f"the facts of {intent.name} do not tell its answer from that of {other.name}"


def holds(fact: str, text: str) -> bool:
    return re.search(fact, text, re.IGNORECASE) is not None


def normal(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _model(line: str) -> dict[str, str]:
    return dict(zip(("id", "size", "about", "aliases"), (part.strip() for part in line.split(";"))))


def _blocks(path: Path) -> list[list[str]]:
    blocks: list[list[str]] = []
    for line in _lines(path):
        if line.startswith("@"):
            blocks.append([line])
        elif line and not line.startswith("#"):
            blocks[-1].append(line)
    return blocks


def _each_model(block: list[str], group: str, models: list[dict[str, str]]) -> list[Intent]:
    """The intent of a block, or, where its answer names $id, one for each model of the catalogue."""
    if not any("$id" in line for line in block):
        return [_intent(block, group)]
    intents = []
    for model in models:
        aliases = tuple(alias.strip() for alias in model["aliases"].split(","))
        filled = [_fill(line, model, aliases) for line in block]
        intent = _intent(filled, group)
        intent.name = f"{intent.name}:{model['id']}"
        intent.model, intent.aliases, intent.weight = model["id"], aliases, intent.weight / len(models)
        intents.append(intent)
    return intents


def _fill(line: str, model: dict[str, str], aliases: tuple[str, ...]) -> str:
    escape = re.escape if line.startswith("=") else str
    for key in ("id", "size", "about"):
        line = line.replace(f"${key}", escape(model[key]))
    # A question of the development set takes one name; which one differs between models.
    return line.replace("$model", aliases[len(model["id"]) % len(aliases)]) if line.startswith("~") else line


def _intent(block: list[str], group: str) -> Intent:
    name, _, after = block[0].removeprefix("@").partition("<")
    intent = Intent(name.strip(), group, after=[one.strip() for one in after.split(",") if one.strip()])
    for line in block[1:]:
        kind, text = line[0], line[1:].strip()
        if kind == "?":
            intent.questions.append(parse(text))
        elif kind == "!":
            intent.answer = text.replace("\\n", "\n")
        elif kind == "=":
            intent.facts += [fact.strip() for fact in text.split(";")]
        elif kind == "~":
            intent.development.append(text)
        elif kind == "*":
            intent.weight = float(text)
        else:
            raise ValueError(f"{name}: what is this line? {line}")
    return intent
