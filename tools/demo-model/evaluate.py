"""Asks a demo model the held-out questions, through llamapod and its OpenAI API, and counts: evaluate.py ID FOLDER CARD.

A right answer holds all facts of its question's intent. A well-formed one is known text from its first letter to its last:
not empty, no piece of a control token, code marks in pairs, an end that a sentence has.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from corpus import Corpus, Message, holds, normal
from demo_models import demo_models
from held_out import held_out
from vocabulary import Vocabulary

seed = 20_240
questions_looked_at = 300


@dataclass
class Count:
    asked: int = 0
    right: int = 0
    well_formed: int = 0
    ended: int = 0


def evaluate(model: str, vocabulary: Vocabulary, url: str) -> dict[str, Count]:
    groups: dict[str, Count] = defaultdict(Count)
    for case in held_out(demo_models[model].language):
        messages: list[Message] = []
        for question in (*case["before"], case["question"]):
            messages.append({"role": "user", "content": question})
            answer, finish_reason, prompt_tokens = ask(url, model, messages)
            if prompt_tokens != vocabulary.prompt_length(messages):
                raise ValueError(f"llama.cpp makes other tokens of {messages} than the training did")
            messages.append({"role": "assistant", "content": answer})
        is_right = all(holds(fact, answer) for fact in case["facts"])
        for count in (groups[case["group"]], groups["all"]):
            count.asked += 1
            count.right += is_right
            count.well_formed += is_well_formed(answer)
            count.ended += finish_reason == "stop"
        if not is_right:
            print(f"{case['intent']}: {' / '.join(message['content'] for message in messages)}")
    groups["all"] = groups.pop("all")
    return groups


def check_unseen(model: str) -> None:
    """That what the training asks holds none of the held-out questions, however they are spelt."""
    corpus, rng = Corpus(demo_models[model].language), random.Random(seed)
    asked = {normal(corpus.question(intent, rng)) for intent in corpus.intents for _ in range(questions_looked_at)}
    seen = [case["question"] for case in held_out(corpus.language) if normal(case["question"]) in asked]
    if seen:
        raise ValueError(f"the training asks held-out questions: {seen}")


@contextmanager
def llamapod() -> Iterator[str]:
    """A server on a free port, with the demo models only."""
    with tempfile.TemporaryDirectory() as empty:
        command = ["node", "dist/src/main.js", "serve", "--port", "0", "--gpu", "off", "--models-dir", empty]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                yield next(entry["url"] for entry in map(json.loads, server.stdout) if "url" in entry)
            finally:
                server.terminate()


def ask(url: str, model: str, messages: list[Message]) -> tuple[str, str, int]:
    question = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 400}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        body = json.load(response)
    choice = body["choices"][0]
    return choice["message"]["content"], choice["finish_reason"], body["usage"]["prompt_tokens"]


def is_well_formed(answer: str) -> bool:
    is_clean = "<|" not in answer and "\N{REPLACEMENT CHARACTER}" not in answer
    return is_clean and answer.count("`") % 2 == 0 and re.search(r"[.!?:`]$", answer) is not None


def table(groups: dict[str, Count]) -> str:
    lines = ["| group | questions | key facts right | well-formed | ends by itself |", "|---|---|---|---|---|"]
    for name, count in groups.items():
        shares = (f"{100 * part / count.asked:.0f} %" for part in (count.right, count.well_formed, count.ended))
        lines.append(f"| {name} | {count.asked} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


def write_into(card: Path, model: str, results: str) -> None:
    """Between the two comments in the model card that name the model."""
    begin, end = f"<!-- {model}: results -->\n", f"<!-- {model}: end -->"
    text = card.read_text(encoding="utf-8")
    head, rest = text.split(begin)
    card.write_text(head + begin + results + end + rest.split(end)[1], encoding="utf-8")


if __name__ == "__main__":
    check_unseen(sys.argv[1])
    with llamapod() as url:
        results = table(evaluate(sys.argv[1], Vocabulary.load(f"{sys.argv[2]}/vocabulary.json"), url))
    print(results)
    write_into(Path(sys.argv[3]), sys.argv[1], results)
