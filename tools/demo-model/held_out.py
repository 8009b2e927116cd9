"""The questions that no training sees, with the facts that a right answer holds."""

from __future__ import annotations

import json
import random
from pathlib import Path

from corpus import Corpus, Intent
from demo_models import demo_models


def held_out(corpus: Corpus) -> list[dict[str, object]]:
    rng = random.Random(1)
    return [case(corpus, intent, question, rng) for intent in corpus.intents for question in intent.held_out]


def case(corpus: Corpus, intent: Intent, question: str, rng: random.Random) -> dict[str, object]:
    before = [corpus.question(one, rng, plain=True) for one in corpus.openings(intent, rng)]
    return {"intent": intent.name, "group": intent.group, "before": before, "question": question, "facts": intent.facts}


def write_held_out(model: str) -> list[dict[str, object]]:
    """The questions of the data as it is now; a file of them is kept for the tests."""
    language = demo_models[model].language
    cases = held_out(Corpus(language))
    text = json.dumps(cases, indent=1, ensure_ascii=False) + "\n"
    (Path(__file__).parent / f"held-out.{language}.json").write_text(text, encoding="utf-8")
    return cases
