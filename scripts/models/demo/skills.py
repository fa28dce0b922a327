"""Skills of the demo model: it remembers the user's name, and answers in JSON with the requested keys."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# The first and last letters of the syllables of made-up words.
STARTS = "b c ch d f g gr h j k l m n p pr qu r s sh st t tr v w z".split()
ENDS = ["", "", "n", "r", "s", "t", "l", "ng", "ck", "m", "nd"]

# The value of a key in JSON, by the type that the user asks for.
VALUES = {"text": "demo", "number": 1, "flag": True, "bare": "demo"}


@dataclass(frozen=True)
class Turn:
    """One question of the user and its answer."""

    question: str
    answer: str


class Skills:
    """Draws conversations whose answers are copied from the conversation."""

    def __init__(self, rules: dict[str, Any]) -> None:
        self.name = rules["name"]
        self.json = rules["json"]

    def texts(self) -> list[str]:
        """Return the texts to train the tokenizer on."""
        texts = [*self.name["tell"], self.name["greeting"], *self.name["ask"], self.name["unknown"], *self.json["ask"]]
        texts += [" " + name for name in self.name["names"]] + self.name["names"]
        return texts + [json.dumps({key: "demo"}) for key in self.json["keys"]]

    def conversation(self, rng: random.Random, other: Callable[[], Turn]) -> list[Turn]:
        """Draw a conversation. `other` draws a turn about something else."""
        if rng.random() < 0.35:
            keys = [self._key(rng) for _ in range(rng.randint(1, 3))]
            return [self.json_turn(rng, list(dict.fromkeys(keys)))]
        if rng.random() < 0.1:
            return [Turn(rng.choice(self.name["ask"]), self.name["unknown"])]
        turns = self.name_turns(rng, self._name(rng))
        if rng.random() < 0.15:
            turns.insert(1, other())
        return turns

    def name_turns(self, rng: random.Random, name: str) -> list[Turn]:
        """Return a turn that tells the name and one that asks for it."""
        tell = rng.choice(self.name["tell"]).replace("{name}", name)
        greeting = self.name["greeting"].replace("{name}", name)
        return [Turn(tell, greeting), Turn(rng.choice(self.name["ask"]), name)]

    def json_turn(self, rng: random.Random, keys: list[str]) -> Turn:
        """Return a turn that asks for an object with these keys."""
        kinds = [rng.choice(["text", "number", "flag", "bare"]) for _ in keys]
        listed = [rng.choice(self.json[kind]).replace("{key}", key) for kind, key in zip(kinds, keys)]
        listed = [*listed[:-2], " and ".join(listed[-2:])]
        question = rng.choice(self.json["ask"]).replace("{keys}", ", ".join(listed))
        return Turn(question, json.dumps({key: VALUES[kind] for kind, key in zip(kinds, keys)}))

    def held_out(self, rng: random.Random) -> list[list[Turn]]:
        """Return conversations with names and keys that are not trained."""
        names = [self.name_turns(rng, name) for name in self.name["held_out"]]
        return names + [[self.json_turn(rng, [key, rng.choice(self.json["keys"])])] for key in self.json["held_out"]]

    def _name(self, rng: random.Random) -> str:
        # Made-up names, so that names are copied rather than learned.
        return made_up_word(rng).capitalize() if rng.random() < 0.3 else rng.choice(self.name["names"])

    def _key(self, rng: random.Random) -> str:
        return made_up_word(rng) if rng.random() < 0.4 else rng.choice(self.json["keys"])


def made_up_word(rng: random.Random) -> str:
    """Return a random pronounceable word of one to three syllables."""

    def syllable() -> str:
        return rng.choice(STARTS) + rng.choice("aeiou") + rng.choice(ENDS)

    return "".join(syllable() for _ in range(rng.randint(1, 3)))
