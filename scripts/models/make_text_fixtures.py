#!/usr/bin/env python3
"""Write the outputs of Hugging Face's libraries for texts, chats and Jinja templates.

Writes three files for the engine's tests: `tokenization.json`, `chat.json` and `jinja.json`. The README
of the fixtures describes their format. Published chat templates, which cannot be committed for reasons
of copyright, are read from a folder; only hashes of their renderings are written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

import fixture_tokenizer
from text_cases import CONVERSATIONS, ID_CASES, SNIPPETS, TEXTS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIXTURES = ROOT / "crates" / "engine" / "tests" / "fixtures" / "text"
OWN_TEMPLATE = HERE / "chat_template.jinja"
PUBLISHED_TEMPLATES = ROOT.parent / "shared" / "data" / "templates"


def tokenization() -> dict:
    """Return the ids to which `tokenizers` encodes texts, and the texts to which it decodes ids."""
    tokenizer = fixture_tokenizer.tokenizer()
    added = tokenizer.get_added_tokens_decoder()

    def decoded(ids: list[int]) -> dict[str, str]:
        shown = tokenizer.decode(ids, skip_special_tokens=False)
        hidden = tokenizer.decode(ids, skip_special_tokens=True)
        # Without control tokens both texts are the same; write the text once.
        return {"decoded": shown} | ({"decoded_without_control": hidden} if hidden != shown else {})

    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append({"text": text, "ids": ids, **decoded(ids)})
    return {
        "model": "../qwen3/qwen3-q4_0.gguf",
        "added_tokens": {added[id].content: id for id in sorted(added)},
        "encode": cases,
        "decode": [{"ids": ids, **decoded(ids)} for ids in ID_CASES],
    }


def render(template: str, conversation: dict) -> dict:
    """Return the rendering of `apply_chat_template`, or the error that the template raised on purpose."""
    try:
        [text], _ = render_jinja_template(
            [conversation["messages"]],
            chat_template=template,
            tools=conversation.get("tools"),
            **conversation.get("variables", {}),
        )
    except jinja2.exceptions.UndefinedError:
        raise
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error)}
    return {"rendered": text}


def hashed(result: dict) -> dict:
    """Replace the text of a rendering by its length and SHA-256."""
    if "rendered" not in result:
        return {"error": True}
    data = result["rendered"].encode()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def renderings(template: str) -> dict[str, dict]:
    results = {}
    for name, conversation in CONVERSATIONS.items():
        try:
            results[name] = render(template, conversation)
        except (TypeError, AttributeError, jinja2.exceptions.UndefinedError):
            # The template does not support this input (such as null content); engines may differ.
            continue
    return results


def chat(published: Path) -> dict:
    own = OWN_TEMPLATE.read_text(encoding="utf-8")
    entries = {}
    for path in sorted(published.glob("*.jinja")):
        text = path.read_text(encoding="utf-8")
        entries[path.name] = {
            "template_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "results": {name: hashed(result) for name, result in renderings(text).items()},
        }
    return {
        "conversations": CONVERSATIONS,
        "own": {"template": "chat_template.jinja", "results": renderings(own)},
        "published": entries,
    }


def snippets() -> dict:
    """Return the renderings of small templates, each for one Jinja behaviour that chat templates use."""
    cases = []
    for snippet in SNIPPETS:
        case = {"name": snippet.name, "template": snippet.template, "context": snippet.context}
        try:
            [text], _ = render_jinja_template(
                [[]], chat_template=snippet.template, **snippet.context
            )
            case["rendered"] = text
        except jinja2.exceptions.TemplateError as error:
            case["error"] = str(error)
        if snippet.python_only:
            case["python_only"] = True
        cases.append(case)
    return {"cases": cases}


def write(path: Path, content: dict) -> None:
    """Write JSON that is readable in a diff: the outer levels indented, below them one entry per line."""

    def opened(value: object, depth: int) -> str:
        pad, inner = "  " * depth, "  " * (depth + 1)
        if (
            depth < 4
            and isinstance(value, dict)
            and any(isinstance(v, (dict, list)) for v in value.values())
        ):
            items = (f"{inner}{json.dumps(k)}: {opened(v, depth + 1)}" for k, v in value.items())
            return "{\n" + ",\n".join(items) + f"\n{pad}}}"
        if isinstance(value, list) and any(isinstance(v, dict) for v in value) and depth < 3:
            items = (f"{inner}{json.dumps(v, ensure_ascii=False)}" for v in value)
            return "[\n" + ",\n".join(items) + f"\n{pad}]"
        return json.dumps(value, ensure_ascii=False)

    path.write_text(opened(content, 0) + "\n", encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(content))
    print(f"{path.name}: {path.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=FIXTURES, help="folder to write to")
    parser.add_argument(
        "--templates",
        type=Path,
        default=PUBLISHED_TEMPLATES,
        help="folder of published *.jinja templates (default: %(default)s)",
    )
    parser.add_argument(
        "--show",
        nargs=2,
        metavar=("TEMPLATE", "CONVERSATION"),
        help="print one rendering (TEMPLATE is a file in --templates, or `own`), write nothing",
    )
    args = parser.parse_args()

    if args.show:
        template, conversation = args.show
        path = OWN_TEMPLATE if template == "own" else args.templates / template
        result = render(path.read_text(encoding="utf-8"), CONVERSATIONS[conversation])
        print(result.get("rendered", result), end="")
        return

    if not any(args.templates.glob("*.jinja")):
        parser.error(f"no *.jinja in {args.templates}: their renderings would be missing from chat.json")
    args.output.mkdir(parents=True, exist_ok=True)
    write(args.output / "tokenization.json", tokenization())
    write(args.output / "chat.json", chat(args.templates))
    write(args.output / "jinja.json", snippets())


if __name__ == "__main__":
    main()
