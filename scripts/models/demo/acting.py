"""Requests to click on what a picture shows, answered with calls of the tools `computer_use` and `mobile_use`."""

from __future__ import annotations

import json
import random
import tomllib
from collections import Counter
from pathlib import Path

import jinja2

from looking import Look, middle, relative
from pictures import Picture

SKILLS = Path(__file__).parents[3] / "crates/skills/src/builtin"


class Acting:
    """Draws requests to act."""

    def __init__(self, path: Path = Path(__file__).with_name("agent.toml")) -> None:
        self.rules = tomllib.loads(path.read_text())
        # The prompts of the built-in skills, as they are for this family.
        self.skills = {tool: _prompt(tool.removesuffix("_use")) for tool in self.rules["tools"]}

    def texts(self) -> list[str]:
        """Return the texts that the tokenizer should have words for."""
        calls = [
            self._call(name, action, [1, 2]) for name, tool in self.rules["tools"].items() for action in tool["ask"]
        ]
        return 3 * calls + self.rules["introductions"] + self.rules["endings"]

    def look(self, rng: random.Random, picture: Picture) -> Look | None:
        """Draw a request about a thing that occurs once, or `None` if there is none."""
        names = Counter(shape.name for shape in picture.shapes)
        single = [shape for shape in picture.shapes if names[shape.name] == 1]
        if not single:
            return None
        shape = rng.choice(single)
        name = rng.choice(list(self.rules["tools"]))
        tool = self.rules["tools"][name]
        action = rng.choice(list(tool["ask"]))
        place = relative((*middle(shape.box), 0, 0), picture)[:2]
        query = rng.choice(tool["ask"][action]).replace("{thing}", shape.name)
        if rng.random() < 0.35:
            system, question = (text.replace("{query}", query.rstrip(".")) for text in self.skills[name])
            return Look("act", question, self._call(name, action, place), system)
        question = rng.choice(self.rules["queries"]).replace("{query}", query)
        return Look("act", question, self._call(name, action, place), self._system(rng, name, tool))

    def _system(self, rng: random.Random, name: str, tool: dict) -> str:
        sentences = [sentence for sentence in tool["sentences"] if rng.random() < 0.7]
        actions = [action for action in tool["actions"] if action in tool["ask"] or rng.random() < 0.7]
        properties = {"action": {"type": "string", "enum": actions}, "coordinate": {"type": "array"}}
        if rng.random() < 0.5:
            properties |= {"text": {"type": "string"}, "time": {"type": "number"}}
        function = {
            "name": name,
            "description": " ".join(sentences),
            "parameters": {"type": "object", "properties": properties, "required": ["action"]},
        }
        described = {"type": "function", "function": function} if rng.random() < 0.5 else function
        rules = self.rules
        return f"{rng.choice(rules['introductions'])}\n<tools>\n{json.dumps(described)}\n</tools>\n{rng.choice(rules['endings'])}"

    def _call(self, name: str, action: str, place: list[int]) -> str:
        call = {"name": name, "arguments": {"action": action, "coordinate": place}}
        return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"


def _prompt(skill: str) -> tuple[str, str]:
    """Return the system prompt and the question of a skill, with `{query}` in the place of the request."""
    templates = tomllib.loads((SKILLS / f"{skill}.toml").read_text())["prompt"]
    values = {"family": "qwen3-vl", "prompt": "{query}", "progress": "none"}
    system, user = (jinja2.Template(templates[part], trim_blocks=True).render(values) for part in ("system", "user"))
    return system.strip(), user.strip()
