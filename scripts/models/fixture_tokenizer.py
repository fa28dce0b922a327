"""The tokenizer that all test fixtures share, with 512 tokens."""

from __future__ import annotations

from functools import cache

from tokenizers import Tokenizer

import qwen_tokenizer

VOCAB_SIZE = 512

# Contains enough text of each script to learn merges within and across multi-byte characters.
CORPUS = [
    "A task waits in the queue until a worker takes it, runs it and reports the result.",
    "The worker renews its lease while the model is running; the queue never loses a task.",
    "What is a lease? It is a worker's right to one attempt, and it ends if nobody renews it.",
    "I'm sure they're here, but we'll see what you've done; it's what she'd have said. I'd wait.",
    "The result is kept for an hour, and then it is gone. Tasks that fail are tried again.",
    "Tokens stream out one after another; the stream ends with a token that means the end.",
    '{"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius", "days": 3}}',
    "def main():\n    for line in lines:\n        print(line.strip())\n    return 0\n\n\n",
    'fn main() {\n    let tokens = vec![1, 2, 3];\n    println!("{:?}", tokens);\n}\n',
    "# Heading\n\n- first item\n- second item\n\n    indented text\n\ttabbed text\n",
    "https://example.org/tasks/42?status=done&limit=10",
    "队列中的任务会一直等待，直到有工作者来处理它。任务完成后，结果会保存一小时。",
    "你好，世界！今天天气很好。你好，我们的世界。任务的结果是什么？",
    "タスクは列で待っています。結果は一時間だけ保存されます。こんにちは、世界。",
    "작업은 대기열에서 기다립니다. 안녕하세요 세계.",
    "Задача ждёт в очереди, пока её не возьмёт работник. Привет, мир!",
    "Größe, Straße, café, naïve, déjà vu, señor, façade, über, Ærø, Łódź.",
    "مرحبا بالعالم. المهمة في الطابور.",
    "😀 😃 🎉 🚀 👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ ✅ 😀 🎉",
    "x² + y² = z², α ≤ β, ∑ f(x) → ∞, 3.14159, 1,000,000, 2025-11-21 15:30:45",
]


@cache
def tokenizer() -> Tokenizer:
    return qwen_tokenizer.train(CORPUS, VOCAB_SIZE)
