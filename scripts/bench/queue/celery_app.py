"""The benchmark's Celery program: FastAPI accepts a prompt, Celery queues it on Redis and stores the result there.

Uses Celery's default settings (acknowledge on receipt, prefetch four tasks per process), JSON, and keeps
results for an hour, as qwen-queue does.
"""

import os

from celery import Celery
from fastapi import FastAPI
from pydantic import BaseModel

REDIS = os.environ["BENCH_REDIS"]

queue = Celery("bench", broker=REDIS, backend=REDIS)
queue.conf.update(result_expires=3600, worker_hijack_root_logger=False)
api = FastAPI()


class Request(BaseModel):
    prompt: str
    max_tokens: int = 200


@queue.task(name="generate")
def generate(prompt: str, max_tokens: int) -> dict:
    return {"text": "ok", "prompt_tokens": 50, "completion_tokens": 1}


@api.post("/generate", status_code=202)
async def submit(request: Request) -> dict:
    task = generate.delay(request.prompt, request.max_tokens)
    return {"status": "queued", "task_id": task.id, "message": "Task queued"}
