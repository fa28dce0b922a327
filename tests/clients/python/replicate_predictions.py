"""replicate: its client's predictions."""

from checks import BASE, KEY, MODEL, QUESTION, check, equal, expect, main, slow_model
from replicate import Client
from replicate.exceptions import ReplicateError

client = Client(api_token=KEY, base_url=BASE)
INPUT = {"prompt": QUESTION, "temperature": 0, "max_tokens": 200}


def text(output: object) -> str:
    """Returns the text of an output, which language models on Replicate give as a list of strings."""
    return output if isinstance(output, str) else "".join(output)


@check
def create_and_wait():
    prediction = client.predictions.create(version=MODEL, input=INPUT)
    expect(prediction.status in ("starting", "processing", "succeeded"), prediction.status)
    prediction.wait()
    equal((prediction.status, prediction.error), ("succeeded", None))
    expect(text(prediction.output) and prediction.input["prompt"] == QUESTION, prediction)
    expect(prediction.created_at and prediction.started_at and prediction.completed_at, prediction)
    equal(client.predictions.get(prediction.id).output, prediction.output)


@check
def wait_in_the_request():
    prediction = client.predictions.create(version=MODEL, input=INPUT, wait=30)
    expect(text(prediction.output), prediction)
    equal(prediction.status, "succeeded")


@check
def run_of_a_model_by_owner_and_name():
    expect(text(client.run(f"any/{MODEL}", input=INPUT)))


@check
def stream():
    prediction = client.predictions.create(version=MODEL, input=INPUT, stream=True)
    events = list(prediction.stream())
    equal(events[-1].event.value, "done")
    streamed = "".join(str(event) for event in events)
    prediction.reload()
    equal(streamed, text(prediction.output))


@check
def cancel():
    prediction = client.predictions.create(version=slow_model(), input={"prompt": QUESTION, "max_tokens": 2000})
    prediction.cancel()
    prediction.wait()
    equal(prediction.status, "canceled")


@check
def predictions_are_listed():
    prediction = client.predictions.create(version=MODEL, input=INPUT)
    expect(prediction.id in [other.id for other in client.predictions.list().results])


@check
def a_wrong_request_is_refused():
    for broken, status in (
        (lambda: Client(api_token="wrong-wrong-wrong", base_url=BASE).predictions.create(version=MODEL, input=INPUT), 401),
        (lambda: client.predictions.get("0000000000000000000000000"), 404),
        (lambda: client.predictions.create(version=MODEL, input={"prompt": QUESTION, "temperature": 99}), 422),
    ):
        try:
            broken()
        except ReplicateError as error:
            equal(error.status, status)
            expect(error.detail, error)
        else:
            raise AssertionError(f"expected {status}")


main()
