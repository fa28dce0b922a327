"""The demo model's training corpus: facts, off-topic questions to decline, paraphrases of both, and skills."""

from __future__ import annotations

import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from paraphrase import Paraphraser
from skills import Skills, Turn, made_up_word

HERE = Path(__file__).parent

# Share of off-topic questions in training.
OFF_TOPIC_SHARE = 0.12
# Share of conversations that train a skill, by default.
SKILL_SHARE = 0.1


@dataclass(frozen=True)
class Fact:
    """An answer and the questions that ask for it."""

    id: str
    answer: str
    ask: tuple[str, ...]
    held_out: tuple[str, ...]
    blind: str


@dataclass(frozen=True)
class OffTopic:
    """Questions about anything else, which all have the same answer: the model does not know."""

    answer: str
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    slots: dict[str, list[str]]

    def draw(self, rng: random.Random) -> str:
        """Return a random training question with its slots filled in."""
        question = rng.choice(self.train)
        return re.sub(r"\{(\w+)\}", lambda slot: self._fill(slot[1], rng), question)

    def _fill(self, slot: str, rng: random.Random) -> str:
        return made_up_word(rng) if slot == "word" else rng.choice(self.slots[slot])


class Corpus:
    """All texts written for the demo model. Draws conversations from them."""

    def __init__(self, folder: Path = HERE, skill_share: float = SKILL_SHARE) -> None:
        self.skill_share = skill_share
        blind = tomllib.loads((folder / "blind.toml").read_text())["questions"]
        self.facts = _load_facts(folder / "facts", blind)
        off_topic = tomllib.loads((folder / "off_topic.toml").read_text())
        self.off_topic = OffTopic(
            off_topic["answer"], tuple(off_topic["train"]), tuple(off_topic["held_out"]),
            off_topic["slots"],
        )  # fmt: skip
        self.paraphraser = Paraphraser(tomllib.loads((folder / "paraphrase.toml").read_text()))
        self.skills = Skills(tomllib.loads((folder / "skills.toml").read_text()))

    def texts(self) -> list[str]:
        """Return the texts to train the tokenizer on, without the held-out questions."""
        rules = self.paraphraser
        texts = [text for fact in self.facts for text in (fact.answer, *fact.ask)]
        texts += [self.off_topic.answer, *self.off_topic.train, *rules.systems, *rules.prefixes]
        texts += self.skills.texts()
        texts += [word for slot in self.off_topic.slots.values() for word in slot]
        texts += [" " + word for group in rules.synonyms for word in group]
        texts += [opening for group in rules.openings for opening in group]
        # Users type in any case, so the tokenizer also learns lower-case and upper-case forms.
        return texts + [text.lower() for text in texts] + [text.upper() for text in texts[::4]]

    def conversation(self, rng: random.Random, boldness: float) -> tuple[str | None, list[Turn]]:
        """Draw a conversation: a system message or None, and its turns.

        `boldness` (0 to 1) is the share of questions that are paraphrased.
        """
        system = rng.choice(self.paraphraser.systems) if rng.random() < 0.15 else None
        if rng.random() < self.skill_share:
            return system, self.skills.conversation(rng, lambda: self._turn(rng, boldness))
        turns = 1 if rng.random() < 0.8 else rng.randint(2, 4)
        return system, [self._turn(rng, boldness) for _ in range(turns)]

    def _turn(self, rng: random.Random, boldness: float) -> Turn:
        if rng.random() < OFF_TOPIC_SHARE:
            question, answer = self.off_topic.draw(rng), self.off_topic.answer
        else:
            fact = rng.choice(self.facts)
            question, answer = rng.choice(fact.ask), fact.answer
        if rng.random() < boldness:
            question = self.paraphraser.vary(question, rng)
        return Turn(question, answer)


def _load_facts(folder: Path, blind: dict[str, str]) -> list[Fact]:
    facts = [
        Fact(
            fact["id"], fact["answer"].strip(), tuple(fact["ask"]), tuple(fact["held_out"]),
            blind[fact["id"]],
        )
        for path in sorted(folder.glob("*.toml"))
        for fact in tomllib.loads(path.read_text())["fact"]
    ]  # fmt: skip
    _check(facts)
    return facts


def _check(facts: list[Fact]) -> None:
    """Raise `ValueError` if two facts share a question or a held-out question is trained on."""
    if len({fact.id for fact in facts}) != len(facts):
        raise ValueError("two facts share an id")
    owner: dict[str, str] = {}
    for fact in facts:
        for question in (*fact.ask, *fact.held_out, fact.blind):
            plain = re.sub(r"\W+", " ", question.lower()).strip() or question
            if owner.setdefault(plain, fact.id) != fact.id:
                raise ValueError(f"{question!r} asks for {owner[plain]} and for {fact.id}")
        trained = {question.lower().rstrip("?.!") for question in fact.ask}
        for question in (*fact.held_out, fact.blind):
            if question.lower().rstrip("?.!") in trained:
                raise ValueError(f"{question!r} is held out and trained on")

