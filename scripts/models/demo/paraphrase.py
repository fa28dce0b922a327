"""Paraphrase questions: other words, and the typing mistakes that people make."""

from __future__ import annotations

import random
import re

# Words that can be dropped, mostly without changing the meaning of a question.
FILLERS = frozenset("a an the do does is are i my it to of can in there me you".split())
# `qwen-queue` as the product's name, not as the command before a subcommand.
PRODUCT = re.compile(
    r"qwen-queue(?! (?:up|gateway|worker|submit|status|result|cancel|bench|model)\b)", re.I
)
# Names that people put in quotes: commands, flags, settings, files, routes.
NAME = re.compile(
    r"(?<![\w`])(qwen-queue \w+|--\w+|[a-z]+_[a-z_]+(?:\.\w+)?|[A-Z]+_[A-Z_]+|\w+\.log|/\w+)(?![\w`])"
)


class Paraphraser:
    """Paraphrases questions by the rules of paraphrase.toml."""

    def __init__(self, rules: dict[str, list]) -> None:
        self.openings: list[list[str]] = rules["openings"]
        self.synonyms: list[list[str]] = rules["synonyms"]
        # A question that matches the first form of a list can take any of the others.
        self.forms = [
            (re.compile(re.escape(first).replace(r"\{\}", "(.+?)") + r"[?.!]*", re.I), others)
            for first, *others in rules["forms"]
        ]
        self.prefixes: list[str] = rules["prefixes"]
        self.suffixes: list[str] = rules["suffixes"]
        self.systems: list[str] = rules["systems"]
        self._groups: dict[str, list[list[str]]] = {}
        for group in self.synonyms:
            for word in group:
                self._groups.setdefault(word, []).append(group)
        # Longest first, so that "a second" matches before "second".
        words = sorted(self._groups, key=len, reverse=True)
        self._words = re.compile(
            rf"(?<![\w/-])(?:{'|'.join(map(re.escape, words))})(?![\w-])", re.I
        )

    def vary(self, question: str, rng: random.Random) -> str:
        """Return a random paraphrase of `question`, sometimes the question itself."""
        if rng.random() < 0.15:
            return question
        draw = rng.random()
        if draw < 0.3:
            question = self._reopen(question, rng)
        elif draw < 0.6:
            question = self._reform(question, rng)
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
        if rng.random() < 0.25:
            question = _drop_words(question, rng)
        if rng.random() < 0.1:
            question = NAME.sub(rng.choice([r"`\1`", r'"\1"', r"'\1'"]), question)
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

    def _reform(self, question: str, rng: random.Random) -> str:
        fitting = [
            (match[1], others) for form, others in self.forms if (match := form.fullmatch(question))
        ]
        if not fitting:
            return self._reopen(question, rng)
        subject, others = rng.choice(fitting)
        end = question[-1] if question[-1] in "?.!" else ""
        return _capitalised(rng.choice(others).replace("{}", subject)) + end

    def _swap_words(self, question: str, rng: random.Random) -> str:
        def swap(match: re.Match[str]) -> str:
            if rng.random() < 0.5:
                return match[0]
            word = rng.choice(rng.choice(self._groups[match[0].lower()]))
            return _capitalised(word) if match[0][0].isupper() and match.start() == 0 else word

        return self._words.sub(swap, question)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _uncapitalised(text: str) -> str:
    """Lower-case the first letter, unless the first word is a name or `I`."""
    is_name = text[:2].isupper() or text.startswith(("I ", "Redis", "Rust", "Docker"))
    return text if is_name else text[:1].lower() + text[1:]


def _rename_product(question: str, rng: random.Random) -> str:
    if PRODUCT.search(question):
        other = [
            "it",
            "this",
            "the service",
            "the queue",
            "this software",
            "Qwen-Queue",
            "qwen queue",
        ]
        return PRODUCT.sub(rng.choice(other), question)
    return re.sub(r"\b(does|use|run|is|can|configure) it\b", r"\1 qwen-queue", question)


def _drop_words(question: str, rng: random.Random) -> str:
    words = question.split()
    keep = [w for w in words if w.lower() not in FILLERS or rng.random() < 0.5]
    if len(keep) >= 8 and rng.random() < 0.3:
        del keep[rng.randrange(len(keep))]
    return " ".join(keep) if len(keep) >= 2 else question


def _mistype(question: str, rng: random.Random) -> str:
    """Make one typing mistake in a word of five or more letters. Names with other characters stay as they are."""
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
    """Change case, closing punctuation and surrounding whitespace at random."""
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
