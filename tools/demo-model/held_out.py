"""Writes the questions that no training sees, with the facts that a right answer holds: held_out.py ID."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from corpus import Corpus, Intent
from demo_models import demo_models


def file(language: str) -> Path:
    return Path(__file__).parent / f"held-out.{language}.json"


def held_out(corpus: Corpus) -> list[dict[str, object]]:
    rng = random.Random(1)
    return [case(corpus, intent, question, rng) for intent in corpus.intents for question in intent.held_out]


def case(corpus: Corpus, intent: Intent, question: str, rng: random.Random) -> dict[str, object]:
    before = [corpus.question(one, rng, plain=True) for one in corpus.openings(intent, rng)]
    return {"intent": intent.name, "group": intent.group, "before": before, "question": question, "facts": intent.facts}


if __name__ == "__main__":
    language = demo_models[sys.argv[1]].language
    cases = held_out(Corpus(language))
    file(language).write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{file(language)}: {len(cases)} questions")
