"""runpod: its client's endpoints, with the model's name as the endpoint's id."""

import os

from checks import BASE, KEY, MODEL, QUESTION, check, equal, expect, main, slow_model

os.environ["RUNPOD_ENDPOINT_BASE_URL"] = f"{BASE}/v2"
import runpod  # noqa: E402 - reads the address when it is imported

runpod.api_key = KEY
endpoint = runpod.Endpoint(MODEL)
PROMPT = {"prompt": QUESTION, "sampling_params": {"temperature": 0, "max_tokens": 200}}


def text(output: object) -> str:
    """Returns the text of an output: a string, or parts in the form of vLLM's worker on RunPod."""
    if isinstance(output, str):
        return output
    if isinstance(output, list):
        return "".join(text(part) for part in output)
    return "".join(token for choice in output["choices"] for token in choice["tokens"])


@check
def run_sync():
    expect(text(endpoint.run_sync(PROMPT, timeout=60)))


@check
def run_and_poll():
    job = endpoint.run({"input": {"messages": [{"role": "user", "content": QUESTION}], "sampling_params": {"temperature": 0}}})
    expect(job.job_id)
    output = job.output(timeout=30)
    equal(job.status(), "COMPLETED")
    equal(text(output), text(endpoint.run_sync(PROMPT, timeout=60)))


@check
def stream():
    whole = text(endpoint.run_sync(PROMPT, timeout=60))
    equal(text(list(endpoint.run(PROMPT).stream())), whole)


@check
def cancel():
    job = runpod.Endpoint(slow_model()).run({"prompt": QUESTION, "sampling_params": {"max_tokens": 2000}})
    equal(job.cancel()["status"], "CANCELLED")
    equal(job.status(), "CANCELLED")


@check
def a_wrong_key_is_refused():
    try:
        runpod.Endpoint(MODEL, api_key="wrong-wrong-wrong").run(PROMPT)
    except RuntimeError as error:
        expect("401" in str(error), error)
    else:
        raise AssertionError("accepted")


main()
