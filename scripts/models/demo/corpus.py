"""What the demo model learns: the facts, the questions it must decline, and their paraphrases."""

from __future__ import annotations

import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

# Share of questions that the model has no answer to.
OFF_TOPIC_SHARE = 0.12
# Dropping one of these rarely changes what is asked.
FILLERS = frozenset("a an the do does is are i my it to of can in there me you".split())
# `qwen-queue` as the product's name, not as the command before a verb.
PRODUCT = re.compile(
    r"qwen-queue(?! (?:up|gateway|worker|submit|status|result|cancel|bench|model)\b)", re.I
)


@dataclass(frozen=True)
class Fact:
    """One answer, and the questions it belongs to."""

    id: str
    answer: str
    ask: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class OffTopic:
    """Questions about everything else, which all get one honest answer."""

    answer: str
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    slots: dict[str, list[str]]

    def draw(self, rng: random.Random) -> str:
        """A question to train on, its slots filled."""
        question = rng.choice(self.train)
        return re.sub(r"\{(\w+)\}", lambda slot: self._fill(slot[1], rng), question)

    def _fill(self, slot: str, rng: random.Random) -> str:
        return _made_up_word(rng) if slot == "word" else rng.choice(self.slots[slot])


@dataclass(frozen=True)
class Turn:
    """One exchange."""

    question: str
    answer: str


class Corpus:
    """Everything written for the demo model, and conversations drawn from it."""

    def __init__(self, folder: Path = HERE) -> None:
        self.facts = _load_facts(folder / "facts")
        off_topic = tomllib.loads((folder / "off_topic.toml").read_text())
        self.off_topic = OffTopic(
            off_topic["answer"], tuple(off_topic["train"]), tuple(off_topic["held_out"]),
            off_topic["slots"],
        )  # fmt: skip
        self.paraphraser = Paraphraser(tomllib.loads((folder / "paraphrase.toml").read_text()))

    def texts(self) -> list[str]:
        """What the tokenizer learns its merges from: nothing held out."""
        rules = self.paraphraser
        texts = [text for fact in self.facts for text in (fact.answer, *fact.ask)]
        texts += [self.off_topic.answer, *self.off_topic.train, *rules.systems, *rules.prefixes]
        texts += [word for slot in self.off_topic.slots.values() for word in slot]
        texts += [" " + word for group in rules.synonyms for word in group]
        texts += [opening for group in rules.openings for opening in group]
        # Words stand at the start of a line too, and are typed in any case.
        return texts + [text.lower() for text in texts] + [text.upper() for text in texts[::4]]

    def conversation(
        self, rng: random.Random, boldness: float
    ) -> tuple[str | None, list[Turn]]:
        """A system message or none, and the turns. `boldness` is the share of paraphrased questions."""
        system = rng.choice(self.paraphraser.systems) if rng.random() < 0.15 else None
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


class Paraphraser:
    """Puts a question in other words, and types it as carelessly as people do."""

    def __init__(self, rules: dict[str, list]) -> None:
        self.openings: list[list[str]] = rules["openings"]
        self.synonyms: list[list[str]] = rules["synonyms"]
        self.prefixes: list[str] = rules["prefixes"]
        self.suffixes: list[str] = rules["suffixes"]
        self.systems: list[str] = rules["systems"]
        self._groups: dict[str, list[list[str]]] = {}
        for group in self.synonyms:
            for word in group:
                self._groups.setdefault(word, []).append(group)
        # The longest first, so that "a second" is not read as "second".
        words = sorted(self._groups, key=len, reverse=True)
        self._words = re.compile(rf"(?<![\w/-])(?:{'|'.join(map(re.escape, words))})(?![\w-])", re.I)

    def vary(self, question: str, rng: random.Random) -> str:
        """Another way to ask `question`."""
        if rng.random() < 0.15:
            return question
        if rng.random() < 0.45:
            question = self._reopen(question, rng)
        if rng.random() < 0.6:
            question = self._swap_words(question, rng)
        if rng.random() < 0.3:
            question = _rename_product(question, rng)
        if rng.random() < 0.2:
            question = f"{rng.choice(self.prefixes)} {_uncapitalised(question)}"
        if rng.random() < 0.12:
            end = question[-1] if question[-1] in "?.!" else ""
            comma = rng.choice([",", ""])
            question = f"{question.rstrip('?.!')}{comma} {rng.choice(self.suffixes)}{end}"
        if rng.random() < 0.2:
            question = _drop_words(question, rng)
        if rng.random() < 0.15:
            question = _mistype(question, rng)
        return _retouch(question, rng)

    def _reopen(self, question: str, rng: random.Random) -> str:
        lowered = question.lower()
        fitting = [
            (opening, group)
            for group in self.openings
            for opening in group
            if lowered.startswith(opening + " ")
        ]
        if not fitting:
            return question
        longest = max(len(opening) for opening, _ in fitting)
        opening, group = rng.choice([fit for fit in fitting if len(fit[0]) == longest])
        return _capitalised(rng.choice(group)) + question[len(opening) :]

    def _swap_words(self, question: str, rng: random.Random) -> str:
        def swap(match: re.Match[str]) -> str:
            if rng.random() < 0.5:
                return match[0]
            word = rng.choice(rng.choice(self._groups[match[0].lower()]))
            return _capitalised(word) if match[0][0].isupper() and match.start() == 0 else word

        return self._words.sub(swap, question)


def _load_facts(folder: Path) -> list[Fact]:
    facts = [
        Fact(fact["id"], fact["answer"].strip(), tuple(fact["ask"]), tuple(fact["held_out"]))
        for path in sorted(folder.glob("*.toml"))
        for fact in tomllib.loads(path.read_text())["fact"]
    ]
    _check(facts)
    return facts


def _check(facts: list[Fact]) -> None:
    """Refuses a corpus that contradicts itself, or holds out what it trains on."""
    if len({fact.id for fact in facts}) != len(facts):
        raise ValueError("two facts share an id")
    owner: dict[str, str] = {}
    for fact in facts:
        for question in fact.ask + fact.held_out:
            plain = re.sub(r"\W+", " ", question.lower()).strip() or question
            if owner.setdefault(plain, fact.id) != fact.id:
                raise ValueError(f"{question!r} asks for {owner[plain]} and for {fact.id}")
        trained = {question.lower().rstrip("?.!") for question in fact.ask}
        for question in fact.held_out:
            if question.lower().rstrip("?.!") in trained:
                raise ValueError(f"{question!r} is held out and trained on")


def _made_up_word(rng: random.Random) -> str:
    """Something that could be a word."""
    starts, vowels, ends = "b c ch d f g gr h j k l m n p pr qu r s sh st t tr v w z".split(), "aeiou", (
        "", "", "n", "r", "s", "t", "l", "ng", "ck", "m", "nd"
    )  # fmt: skip
    return "".join(
        rng.choice(starts) + rng.choice(vowels) + rng.choice(ends) for _ in range(rng.randint(1, 3))
    )


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _uncapitalised(text: str) -> str:
    """Unless the first word is a name or an `I`."""
    is_name = text[:2].isupper() or text.startswith(("I ", "Redis", "Rust", "Docker"))
    return text if is_name else text[:1].lower() + text[1:]


def _rename_product(question: str, rng: random.Random) -> str:
    if PRODUCT.search(question):
        other = ["it", "this", "the service", "the queue", "this software", "Qwen-Queue", "qwen queue"]
        return PRODUCT.sub(rng.choice(other), question)
    return re.sub(r"\b(does|use|run|is|can|configure) it\b", r"\1 qwen-queue", question)


def _drop_words(question: str, rng: random.Random) -> str:
    words = question.split()
    keep = [w for w in words if w.lower() not in FILLERS or rng.random() < 0.5]
    if len(keep) >= 6 and rng.random() < 0.3:
        del keep[rng.randrange(len(keep))]
    return " ".join(keep) if len(keep) >= 2 else question


def _mistype(question: str, rng: random.Random) -> str:
    """One slip of the finger in one of the longer words; names of settings stay whole."""
    words = question.split(" ")
    long = [i for i, w in enumerate(words) if w.strip("?.!,").isalpha() and len(w) >= 5]
    if not long:
        return question
    i = rng.choice(long)
    word = words[i]
    at = rng.randrange(1, len(word) - 1)
    slips = [
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + rng.choice("etaoinsr") + word[at + 1 :],
    ]
    words[i] = rng.choice(slips)
    return " ".join(words)


def _retouch(question: str, rng: random.Random) -> str:
    """Case, the mark at the end, stray spaces."""
    draw = rng.random()
    if draw < 0.3:
        question = question.lower()
    elif draw < 0.33:
        question = question.upper()
    elif draw < 0.36:
        question = question.title()
    draw = rng.random()
    if draw < 0.25:
        question = question.rstrip("?.!")
    elif draw < 0.32:
        question = question.rstrip("?.!") + rng.choice(["?", "??", "!", ".", " ?", "...", "?!"])
    draw = rng.random()
    if draw < 0.04:
        question += rng.choice([" ", "\n", "  "])
    elif draw < 0.06:
        question = " " + question
    return question
