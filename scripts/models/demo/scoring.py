"""Measure how often the demo model answers correctly, greedily and with the sampling defaults of POST /generate.

Nothing is generated: the correct answer is passed through the model once. Greedy decoding produces it
exactly if each of its tokens is the argmax of its logits. The probability that sampling produces it is
the product of its tokens' probabilities.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from corpus import Corpus
from skills import Turn

TEMPERATURE, TOP_P = 0.7, 0.9  # the defaults of POST /generate

Render = Callable[[str | None, list[Turn]], str]


@dataclass(frozen=True)
class Score:
    """The score of one question."""

    kind: str  # trained, held out, blind, off-topic trained, off-topic held out, skill held out
    fact: str
    question: str
    greedy: bool
    sampled: float  # probability that sampling produces the exact answer
    margin: float  # smallest distance, in logits, of a correct token from the best other one; < 0 if wrong


def questions_of(corpus: Corpus) -> Iterable[tuple[str, str, str, str]]:
    """Yield kind, fact, question and answer of every question without slots."""
    for fact in corpus.facts:
        yield from (("trained", fact.id, q, fact.answer) for q in fact.ask)
        yield from (("held out", fact.id, q, fact.answer) for q in fact.held_out)
        yield "blind", fact.id, fact.blind, fact.answer
    off_topic = corpus.off_topic
    for q in off_topic.train:
        if "{" not in q:
            yield "off-topic trained", "off-topic", q, off_topic.answer
    yield from (
        ("off-topic held out", "off-topic", q, off_topic.answer) for q in off_topic.held_out
    )


def evaluate(
    model: Qwen3ForCausalLM,
    tokenizer: Tokenizer,
    render: Render,
    corpus: Corpus,
    system: str | None = None,
    before: list[Turn] | None = None,
) -> list[Score]:
    """Score every question, after the system message `system` and the turns `before` if given."""
    asked = [
        (kind, fact, [*(before or []), Turn(question, answer)])
        for kind, fact, question, answer in questions_of(corpus)
    ]
    skills = corpus.skills.held_out(random.Random(1))
    asked += [("skill held out", "skill", [*(before or []), *turns]) for turns in skills]
    scores = []
    for kind, fact, turns in asked:
        question, answer = turns[-1].question, turns[-1].answer
        text = render(system, turns)
        prompt, _, _ = text.rpartition("<|im_start|>assistant\n")
        prompt_ids = tokenizer.encode(prompt + "<|im_start|>assistant\n").ids
        answer_ids = tokenizer.encode(answer + "<|im_end|>").ids
        scores.append(Score(kind, fact, question, *_score(model, prompt_ids, answer_ids)))
    return scores


@torch.no_grad()
def _score(
    model: Qwen3ForCausalLM, prompt: list[int], answer: list[int]
) -> tuple[bool, float, float]:
    logits = model(input_ids=torch.tensor([prompt + answer[:-1]])).logits[0]
    logits = logits[len(prompt) - 1 :].float()  # [answer, vocabulary]
    right = torch.tensor(answer)
    led = logits.gather(1, right[:, None])[:, 0]
    rivals = logits.scatter(1, right[:, None], float("-inf")).amax(1)
    margin = (led - rivals).min().item()

    chances, order = (logits / TEMPERATURE).softmax(1).sort(1, descending=True)
    kept = chances.cumsum(1) - chances < TOP_P  # the nucleus: all tokens up to the one that reaches TOP_P
    chances = (chances * kept) / (chances * kept).sum(1, keepdim=True)
    sampled = chances[order == right[:, None]].prod().item()
    return margin > 0, sampled, margin


def summary(scores: list[Score], misses: int = 0) -> str:
    """Return a line per kind of question and the first `misses` questions answered wrongly."""
    lines = []
    for kind in dict.fromkeys(score.kind for score in scores):
        of_kind = [score for score in scores if score.kind == kind]
        right = sum(score.greedy for score in of_kind)
        sampled = sum(score.sampled for score in of_kind) / len(of_kind)
        lines.append(
            f"{kind:>18}: greedy {right}/{len(of_kind)} = {right / len(of_kind):.1%}, "
            f"sampled {sampled:.1%}"
        )
    wrong = [score for score in scores if not score.greedy][:misses]
    lines += [f"  missed ({score.kind}) {score.fact}: {score.question}" for score in wrong]
    return "\n".join(lines)


def questions_file(corpus: Corpus) -> dict[str, object]:
    """Return the questions and expected answers of the engine's test."""
    facts = [
        {
            "id": fact.id,
            "answer": fact.answer,
            "trained": list(fact.ask[:2]),
            "held_out": list(fact.held_out),
            "blind": fact.blind,
        }
        for fact in corpus.facts
    ]
    off_topic = {"answer": corpus.off_topic.answer, "held_out": list(corpus.off_topic.held_out)}
    return {"facts": facts, "off_topic": off_topic}
