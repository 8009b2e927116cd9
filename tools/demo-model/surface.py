"""How the same question looks when different people type it: greetings and thanks around it, other cases, typing errors."""

from __future__ import annotations

import random
import re
from pathlib import Path

_neighbours = ["qwertyuiop", "asdfghjkl", "zxcvbnm"]


class Surface:
    """The phrases come from a file with one section for each place that they can take."""

    def __init__(self, path: Path) -> None:
        self._phrases: dict[str, list[str]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("@"):
                section = self._phrases.setdefault(line.removeprefix("@").strip(), [])
            elif line and not line.startswith("#"):
                section.append(line)

        self._synonyms: dict[str, list[str]] = {}
        for line in self._phrases.get("synonyms", []):
            words = line.split(", ")
            # Only the first stands in questions for what all of them mean, as others have meanings of their own.
            self._synonyms[words[0]] = words[1:]
        self._synonym = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in self._synonyms) or "(?!)")

    def system_message(self, rng: random.Random) -> str:
        return rng.choice(self._phrases["system"])

    def vary(self, text: str, rng: random.Random) -> str:
        if rng.random() < 0.4:
            text = self._synonym.sub(lambda word: self._replace(word.group(), rng), text)
        if len(text) > 12:
            text = self._dress(text, rng)
        text = self._mistype(text, rng)
        text = self._punctuate(text, rng)
        return self._set_case(text, rng)

    def _replace(self, word: str, rng: random.Random) -> str:
        return rng.choice(self._synonyms[word]) if rng.random() < 0.5 else word

    def _dress(self, text: str, rng: random.Random) -> str:
        chance = rng.random()
        if chance < 0.10:
            text = f"{rng.choice(self._phrases['before'])} {text}"
        elif chance < 0.17:
            text = f"{rng.choice(self._phrases['sentence before'])} {text[0].upper()}{text[1:]}"
        elif chance < 0.25:
            text = f"{text}{rng.choice(self._phrases['after'])}"
        return text

    def _mistype(self, text: str, rng: random.Random) -> str:
        words = text.split(" ")
        if len(words) > 4 and rng.random() < 0.05:
            del words[rng.randrange(len(words))]
        droppable = [at for at, word in enumerate(words) if word in self._phrases["droppable"]]
        if len(words) > 3 and droppable and rng.random() < 0.08:
            del words[rng.choice(droppable)]
        if rng.random() < 0.10:
            words = [word.replace("'", "") for word in words]
        for chance in (0.12, 0.25):
            if rng.random() > chance:
                break
            at = rng.randrange(len(words))
            if words[at].isalpha() and len(words[at]) > 3:
                words[at] = _misspell(words[at], rng)
        return " ".join(words)

    def _punctuate(self, text: str, rng: random.Random) -> str:
        if text[-1] in "?!.:=":
            return text
        return text + rng.choices(["?", "", ".", "??", " ?", "!"], [0.42, 0.45, 0.05, 0.03, 0.02, 0.03])[0]

    def _set_case(self, text: str, rng: random.Random) -> str:
        chance = rng.random()
        if chance < 0.5:
            return text[0].upper() + text[1:]
        if chance < 0.8:
            return text
        if chance < 0.96:
            return text.lower()
        return text.upper() if chance < 0.98 else text.title()


def _misspell(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    row = next((row for row in _neighbours if word[at] in row), word[at])
    near = row[max(0, row.index(word[at]) - 1) : row.index(word[at]) + 2]
    return word[:at] + rng.choice(near) + word[at + 1 :]
