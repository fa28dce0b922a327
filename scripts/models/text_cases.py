"""The inputs of `make_text_fixtures.py`: texts, token ids, conversations, template snippets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Uses escapes for characters that cannot be told apart by eye: combining marks, invisible characters,
# unusual spaces.
TEXTS = [
    "",
    "a",
    " ",
    "Hello, world!",
    " leading space",
    "trailing space ",
    "A task waits in the queue until a worker takes it.",
    # Whitespace runs and line ends: each kind matches another alternative of the split pattern.
    "two  spaces,   three,    four",
    "     \n",
    "\n\n\n",
    "\r\n\r\n",
    "line one\nline two\r\nline three\rend",
    "  \n  indented\n\tand tabbed\t\tend",
    "\t\t",
    "word \n next",
    "a\u00a0b\u2003c\u3000d\u200be\ufefff",
    "punctuation!!!\n\n next",
    # Contractions in both cases, and apostrophes that are not contractions.
    "I'm you're he's we'll they've I'd can't",
    "I'M YOU'RE HE'S WE'LL THEY'VE I'D CAN'T",
    "'s 'Sam 'tis rock'n'roll \u2019s it\u2019s",
    # Case folding: U+017F (long s) matches 's case-insensitively.
    "x'\u017f y",
    # Digits, which are split one by one, and other numeric characters.
    "1234567890",
    "3.14159 1,000,000 2025-11-21 15:30:45",
    "x\u00b2 \u00bd \u2167 \u0663\u0664 \u0967\u0968",
    # Code and JSON.
    "def main():\n    for line in lines:\n        print(line.strip())\n",
    'fn main() {\n\tprintln!("{:?}", vec![1, 2]);\n}',
    '{"name": "f", "arguments": {"a": [1, 2.5, null]}}',
    "<b>&amp;</b> <|not a token|> <think",
    "https://example.org/tasks/42?status=done&limit=10#top",
    "________ ======== --->> //// ....",
    # Scripts.
    "你好，世界！队列中的任务会一直等待。",
    "こんにちは、世界。タスクは列で待っています。",
    "안녕하세요 세계",
    "Привет, мир! Задача ждёт в очереди.",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "Größe Straße café naïve Łódź",
    "mixed中文and English和数字123",
    # Emoji: plain, with skin tone, joined, flag, with variation selector.
    "😀 🎉🚀 👍🏽 👩\u200d👩\u200d👧\u200d👦 🇩🇪 ❤\ufe0f",
    "text😀text",
    # Not NFC: decomposed letters, jamo, a singleton (the ohm sign), marks out of order.
    "cafe\u0301 nai\u0308ve Gro\u0308\u00dfe",
    "\u1112\u1161\u11ab\u1100\u1173\u11af",
    "\u2126 \u212b \u00c5 A\u030a",
    "a\u0323\u0302 a\u0302\u0323 \u0e33",
    "\u0301 alone, and e\u0301\u0301 twice",
    # NFC does not change compatibility characters.
    "\ufb01 \uff21 \u2460 \u00bc",
    # Special tokens inside text.
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|>",
    "a<|im_end|>b <|im_end|> c",
    "<think>\nWhy?\n</think>\n\nBecause.",
    '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
    "<tool_response>42</tool_response>",
    "<think></think><think>\n\n</think>\n\n",
    "<|im_start|><|im_start|> <|im_end|>\n\n<|im_end|>",
    "< think > <THINK> <|im_end |>",
    # A special token directly after a decomposed letter.
    "cafe\u0301<|im_end|>e\u0301",
    "\u0000\u0001\u007f\u0085",
]

# Ids below 256 are single bytes in the order of the byte-level alphabet; ids from 503 are special tokens.
ID_CASES = [
    [],
    [0],
    # An emoji byte by byte: complete, without its last byte, without its first byte, and repeated but cut off.
    [172, 253, 246, 222],
    [172, 253, 246],
    [253, 246, 222],
    [172, 253, 246, 222, 172, 253],
    # Special tokens between letters, then all special tokens.
    [39, 503, 40],
    [506, 39, 507],
    [511, 510, 509, 508, 507, 506, 505, 504, 503],
    # Bytes that are not valid UTF-8.
    [127, 128, 129, 187, 188, 189],
]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City name"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 14, "default": 3},
            },
            "required": ["city"],
        },
    },
}
MARKUP = {
    "type": "function",
    "function": {
        "name": "write_page",
        "description": "Writes <b>bold</b> & 'quoted' \"text\"; a/b, C:\\dir, tab\there, 你好 é 😀",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {
                "z_last": {"type": "number", "default": 0.5, "examples": [1.0, -2, None, False]},
                "a_first": {"type": "array", "items": {}, "description": ""},
            },
        },
    },
}


def system(text: str) -> dict:
    return {"role": "system", "content": text}


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str | None, **extra: Any) -> dict:
    return {"role": "assistant", "content": text, **extra}


def tool(text: str) -> dict:
    return {"role": "tool", "content": text}


def call(name: str, arguments: dict | str) -> dict:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


ASK = {"add_generation_prompt": True}
HISTORY = [
    system("You answer briefly."),
    user("What is a lease?"),
    assistant("A worker's right to one attempt."),
    user("And who renews it?"),
]
PARIS = call("get_weather", {"city": "Paris", "days": 2})
TOKYO = call("get_weather", {"city": "東京 <&'>", "unit": "celsius"})

# `variables` are passed to the template; all others are undefined in it.
CONVERSATIONS: dict[str, dict] = {
    "one_question": {"messages": [user("Hello!")], "variables": ASK},
    "no_generation_prompt": {"messages": [user("Hello!")]},
    "system": {"messages": [system("You are terse."), user("Hello!")], "variables": ASK},
    "empty_system": {"messages": [system(""), user("Hello!")], "variables": ASK},
    "multi_turn": {"messages": HISTORY, "variables": ASK},
    "multi_turn_closed": {"messages": [*HISTORY, assistant("The worker.")]},
    "late_system": {
        "messages": [user("Hi"), system("Now answer in French."), user("Hi again")],
        "variables": ASK,
    },
    "thinking_on": {"messages": HISTORY, "variables": {**ASK, "enable_thinking": True}},
    "thinking_off": {"messages": HISTORY, "variables": {**ASK, "enable_thinking": False}},
    "past_reasoning": {
        "messages": [
            user("2 + 2?"),
            assistant("4", reasoning_content="\nTwo and two make four.\n"),
            user("Sure?"),
        ],
        "variables": ASK,
    },
    "past_reasoning_in_content": {
        "messages": [
            user("2 + 2?"),
            assistant("<think>\nTwo and two make four.\n</think>\n\n4"),
            user("Sure?"),
        ],
        "variables": ASK,
    },
    "last_reasoning": {
        "messages": [user("2 + 2?"), assistant("4", reasoning_content="Two and two make four.")],
    },
    "tools": {
        "messages": [system("Use the tools."), user("Weather in Paris?")],
        "tools": [WEATHER, MARKUP],
        "variables": ASK,
    },
    "tools_without_system": {
        "messages": [user("Weather in Paris?")],
        "tools": [WEATHER],
        "variables": ASK,
    },
    "no_tools": {"messages": [user("Hello!")], "tools": [], "variables": ASK},
    "tool_call": {
        "messages": [user("Weather in Paris?"), assistant("", tool_calls=[PARIS])],
        "tools": [WEATHER],
    },
    "tool_round_trip": {
        "messages": [
            user("Weather in Paris and Tokyo?"),
            assistant("Let me look.", reasoning_content="Two calls.", tool_calls=[PARIS, TOKYO]),
            tool('{"sky": "clear", "celsius": 21.5}'),
            tool("<rain> & 'wind'"),
        ],
        "tools": [WEATHER],
        "variables": ASK,
    },
    "tool_round_trip_and_on": {
        "messages": [
            system("Use the tools."),
            user("Weather in Paris?"),
            assistant("", reasoning_content="One call.", tool_calls=[PARIS]),
            tool("clear"),
            assistant("It is clear.", reasoning_content="Easy."),
            user("Thanks. And Tokyo?"),
            assistant("", tool_calls=[TOKYO]),
            tool("rain"),
        ],
        "tools": [WEATHER],
        "variables": {**ASK, "enable_thinking": False},
    },
    "tool_call_bare": {
        "messages": [user("?"), assistant("", tool_calls=[PARIS["function"]]), tool("clear")],
        "tools": [WEATHER],
        "variables": ASK,
    },
    "tool_call_arguments_as_text": {
        "messages": [
            user("?"),
            assistant("", tool_calls=[call("get_weather", '{"city":"Paris"}')]),
            tool("clear"),
        ],
        "tools": [WEATHER],
        "variables": ASK,
    },
    "tool_call_without_content": {
        "messages": [user("?"), assistant(None, tool_calls=[PARIS]), tool("clear")],
        "tools": [WEATHER],
        "variables": ASK,
    },
    "tool_call_of_many_types": {
        "messages": [
            user("?"),
            assistant(
                "",
                tool_calls=[
                    call(
                        "write_page",
                        {
                            "text": 'line\nline\ttab "quoted" \\ / \u0001 \u007f \u2028 é 你好 😀',
                            "html": "<a href='x'>&</a>",
                            "list": [1, -2, 2.5, 1.0, True, False, None, [], {}, "a"],
                            "nested": {"z": {"y": []}, "a": 0},
                        },
                    )
                ],
            ),
        ],
        "tools": [MARKUP],
    },
    "unicode": {
        "messages": [system("Réponds 用中文。"), user("Größe? 你好 😀 cafe\u0301 \u200b|")],
        "variables": ASK,
    },
    "markup": {
        "messages": [user("<b>&amp;</b> 'single' \"double\" {{ braces }} {% if %} {# no #}")],
        "variables": ASK,
    },
    "whitespace": {
        "messages": [
            system("  padded  \n"),
            user("\n\n  spaces and lines \n\n"),
            assistant("\n\nanswer\n\n"),
            user("\ttab\r\n"),
        ],
        "variables": ASK,
    },
    "special_tokens_in_text": {
        "messages": [user("What is <|im_end|>? And <think>, <tool_response>x</tool_response>?")],
        "variables": ASK,
    },
    "user_as_tool_response": {
        "messages": [
            user("Go."),
            assistant("ok", reasoning_content="Hm."),
            user("<tool_response>\nx\n</tool_response>"),
        ],
        "variables": ASK,
    },
    "content_parts": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "One "}, {"type": "text", "text": "two."}],
            }
        ],
        "variables": ASK,
    },
    "only_system": {"messages": [system("You are terse.")], "variables": ASK},
    "no_messages": {"messages": [], "variables": ASK},
    "unknown_role": {"messages": [{"role": "narrator", "content": "Once."}], "variables": ASK},
}


@dataclass(frozen=True)
class Snippet:
    """A small template. `python_only` marks behaviour that comes from Python, not from Jinja."""

    name: str
    template: str
    context: dict[str, Any] = field(default_factory=dict)
    python_only: bool = False


CHAT = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U1"},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "U2"},
]
DATA = {"b": 1, "a": [True, None, "x<y>&'z'", 0.5], "é": {"n": 'line\n"q" \\ \t 你好 😀'}}

SNIPPETS = [
    # Whitespace: trim_blocks, lstrip_blocks, explicit dashes, the last line end.
    Snippet("trim_blocks", "{% if true %}\nyes\n{% endif %}\nend"),
    Snippet("trim_blocks_takes_one_line_end", "{% if true %}\n\nyes\n{% endif %}\n\nend"),
    Snippet("trim_blocks_not_behind_expressions", "{{ 1 }}\n{{ 2 }}\nend"),
    Snippet("trim_blocks_crlf", "{% if true %}\r\nyes\r\n{% endif %}\r\nend"),
    Snippet("lstrip_blocks", "a\n  {% if true %}\n  yes\n\t{% endif %}\nend"),
    Snippet("lstrip_blocks_not_before_expressions", "a\n  {{ 1 }}\n  end"),
    Snippet("lstrip_blocks_not_within_a_line", "a  {% if true %}b{% endif %}"),
    Snippet("lstrip_blocks_comment", "a\n  {# note #}\nb"),
    Snippet("plus_keeps_whitespace", "a\n  {%+ if true %}b{% endif +%}\nc"),
    Snippet("dashes", "a \n {%- if true -%} \n b \n {%- endif -%} \n c {{- ' d ' -}} \n e"),
    Snippet("last_line_end_goes", "text\n"),
    Snippet("only_one_last_line_end_goes", "text\n\n"),
    # Values as text.
    Snippet("no_html_escaping", "{{ text }}", {"text": "<b>&amp; 'x' \"y\"</b>"}),
    Snippet("tojson", "{{ data | tojson }}", {"data": DATA}),
    Snippet("tojson_indent", "{{ data | tojson(indent=2) }}", {"data": DATA}),
    Snippet("tojson_keeps_unicode", "{{ text | tojson }}", {"text": "é 你好 😀 \u2028 \u007f"}),
    Snippet("tojson_ensure_ascii_off", "{{ t | tojson(ensure_ascii=False) }}", {"t": "é<"}),
    Snippet("tojson_control_characters", "{{ t | tojson }}", {"t": "\b\f\n\r\t\u0001\u001f/\\"}),
    Snippet("tojson_scalars", "{{ [1, -1, 1.5, 1.0, true, false, none, 'a', ''] | tojson }}"),
    Snippet("tojson_empty", "{{ [[], {}] | tojson }}"),
    Snippet("tojson_concatenated", "{{ 'a: ' ~ ({'k': 1} | tojson) ~ '.' }}"),
    Snippet("tojson_floats", "{{ x | tojson }}", {"x": [1e20, 1e-7, 1e16, 123456.75]}, True),
    Snippet("print_python_values", "{{ true }} {{ none }} {{ 1.0 }} {{ [1, 'a'] }}"),
    Snippet("print_undefined", "[{{ missing }}][{{ message.missing }}]", {"message": {"a": 1}}),
    Snippet("undefined_of_undefined", "{{ missing.more.still }}"),
    Snippet("concatenate_numbers", "{{ 'n' ~ 1 ~ 2.5 }}"),
    Snippet("string_escapes", "{{ 'a\\n\\tb \\'c\\' \\\\ \"d\"' }}{{ \"it's\" }}"),
    # Functions that transformers adds to Jinja.
    Snippet("raise_exception", "before {{ raise_exception('no such role: <x>') }} after"),
    Snippet("strftime_now_literal", "{{ strftime_now('100%% of today') }}"),
    # Loops and scopes.
    Snippet(
        "loop_variables",
        "{% for m in chat %}{{ loop.index0 }}/{{ loop.length }}{{ ' first' if loop.first }}"
        "{{ ' last' if loop.last }} {{ loop.previtem.role if not loop.first }}"
        ">{{ m.role }}>{{ loop.nextitem.role if not loop.last }};{% endfor %}",
        {"chat": CHAT},
    ),
    Snippet(
        "break_and_continue",
        "{% for m in chat %}{% if m.role == 'system' %}{% continue %}{% endif %}"
        "{% if m.content == 'U2' %}{% break %}{% endif %}{{ m.content }} {% endfor %}",
        {"chat": CHAT},
    ),
    Snippet(
        "namespace",
        "{% set ns = namespace(last=-1, seen=false) %}{% for m in chat %}"
        "{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% set ns.seen = true %}"
        "{% endif %}{% endfor %}{{ ns.last }}{% if ns.seen %} seen{% endif %}",
        {"chat": CHAT},
    ),
    Snippet(
        "set_in_a_loop_stays_there",
        "{% set x = 1 %}{% for m in chat %}{% set x = 2 %}{% endfor %}{{ x }}",
        {"chat": CHAT},
    ),
    Snippet("loop_filter_and_else", "{% for x in [1] if x > 1 %}{{ x }}{% else %}none{% endfor %}"),
    Snippet(
        "loop_over_items",
        "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
        {"d": {"z": 1, "a": 2}},
    ),
    Snippet(
        "loop_over_items_filter",
        "{% for k, v in d | items %}{{ k }}={{ v }};{% endfor %}",
        {"d": {"z": 1, "a": 2}},
    ),
    Snippet(
        "macro", "{% macro t(a, b='-') %}<{{ a }}{{ b }}>{% endmacro %}{{ t(1) ~ t(2, b='+') }}"
    ),
    Snippet("set_block", "{% set x %}\n a{{ 1 }}\n{% endset %}[{{ x }}]"),
    # Slices and lookups.
    Snippet(
        "slices",
        "{{ (chat[::-1] | first).content }} {{ chat[1:] | length }} {{ chat[-1].content }}"
        " {{ 'abcdef'[1:-1] }}",
        {"chat": CHAT},
    ),
    Snippet(
        "lookups",
        "{{ chat[0]['role'] }} {{ chat[0].get('x', 'y') }} {{ 'has' if 'role' in chat[0] }}",
        {"chat": CHAT},
    ),
    Snippet(
        "contains",
        "{% if 'b' in 'abc' and 2 in [1, 2] and 'k' in {'k': 0} and 'z' not in 'abc' %}yes"
        "{% endif %}",
    ),
    # Methods of Python strings.
    Snippet(
        "strip",
        "[{{ s.strip() }}][{{ s.lstrip() }}][{{ s.rstrip() }}][{{ s | trim }}]",
        {"s": " \n a b \n "},
    ),
    Snippet(
        "strip_characters",
        "[{{ s.strip('\\n') }}][{{ s.lstrip('\\n') }}][{{ s.rstrip('\\n') }}]",
        {"s": "\n\n a \n"},
    ),
    Snippet(
        "split",
        "{{ s.split('</think>')[-1] }}|{{ s.split('</think>')[0].split('<think>')[-1] }}"
        "|{{ 'a b  c'.split() | length }}",
        {"s": "<think>why</think>what"},
    ),
    Snippet(
        "starts_and_ends",
        "{% if s.startswith('<a>') and s.endswith('</a>') %}yes{% endif %}",
        {"s": "<a>x</a>"},
    ),
    Snippet(
        "cases",
        "{{ 'aB c'.upper() }} {{ 'aB c'.lower() }} {{ 'ab cd'.title() }}"
        " {{ 'ab'.capitalize() }} {{ 'ab' | upper }}",
    ),
    Snippet("replace", "{{ 'a-b-c'.replace('-', '+') }} {{ 'a-b' | replace('-', '') }}"),
    Snippet("join", "{{ ', '.join(['a', 'b']) }} {{ ['a', 'b'] | join('; ') }}"),
    # Filters and tests.
    Snippet(
        "filters",
        "{{ chat | map(attribute='content') | list | join(',') }}"
        " {{ chat | selectattr('role', 'equalto', 'user') | list | length }}"
        " {{ missing | default('d') }} {{ [3, 1] | sort | first }}",
        {"chat": CHAT},
    ),
    Snippet(
        "tests",
        "{% for x in values %}{{ 's' if x is string }}{{ 'm' if x is mapping }}"
        "{{ 'n' if x is number }}{{ 'N' if x is none }}{{ 'b' if x is boolean }}"
        "{{ 'f' if x is false }}{{ 't' if x is true }}{{ 'd' if x is defined }} {% endfor %}",
        {"values": ["x", {}, 1, 1.5, None, False, True, []]},
    ),
    Snippet(
        "iterable_but_not_mapping",
        "{% for x in v %}"
        "{{ 'y' if x is iterable and x is not mapping and x is not string else 'n' }}{% endfor %}",
        {"v": [[1], {"a": 1}, "s", 1]},
    ),
    Snippet("none_is_not_iterable", "{{ 'y' if tools is iterable else 'n' }}", {"tools": None}),
    Snippet(
        "truth",
        "{% for x in v %}{{ 'y' if x else 'n' }}{% endfor %}{{ 'y' if missing else 'n' }}",
        {"v": ["", "a", 0, 1, [], [0], {}, {"a": 0}, None]},
    ),
    Snippet("or_gives_the_value", "{{ '' or 'b' }}{{ 'a' or 'b' }}{{ (missing or []) | length }}"),
    Snippet(
        "arithmetic",
        "{{ 7 // 2 }} {{ 7 % 3 }} {{ 2 * 3 + 1 }} {{ (chat | length) - 1 }} {{ 'ab' * 2 }}",
        {"chat": CHAT},
    ),
]
