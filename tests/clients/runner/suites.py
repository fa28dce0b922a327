"""The suites that others wrote, run as they are published."""

import json
import re
import shutil
import xml.etree.ElementTree as xml

from .refusals import judge
from .steps import Outcome, Run, Step, execute
from .tools import HERE

BASELINE = HERE / "baseline" / "llmprobe.json"


def llmprobe(run: Run) -> Outcome:
    """Runs llmprobe. Every MUST has to hold, and nothing may be worse than in the baseline."""
    report = run.reports / "llmprobe.json"
    command: list[object] = [
        run.tools.node / "node", run.tools.node_packages / "node_modules/llmprobe/bin/dist/llmprobe.mjs",
        f"{run.server.base}/v1", "-k", run.server.key, "-m", run.server.model,
        "--no-bench", "--no-save", "--no-color", "--save", report, *(["--full"] if run.full else []),
    ]  # fmt: skip
    done = execute(run, "llmprobe", command, 600 if run.full else 240)
    if not report.exists():
        return Outcome(False, done.failure or "no report", done.tail())
    found = json.loads(report.read_text())
    results = found["conformance"]["results"]
    counts: dict[str, int] = {}
    for result in results:
        counts[result["outcome"]] = counts.get(result["outcome"], 0) + 1
    summary = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items(), key=lambda pair: -pair[1]))
    if done.failure:
        details = [f"{fault['id']}: {fault['message']}" for result in results for fault in result["failures"] if fault["severity"] == "MUST"]
        return Outcome(False, f"{done.failure}; {summary}", details or done.tail())
    now = comparable(found)
    if run.record:
        BASELINE.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
        return Outcome(True, f"{summary}; baseline written")
    if run.full or not BASELINE.exists():
        return Outcome(True, f"{summary}; no baseline to compare with")
    details = worse(json.loads(BASELINE.read_text()), now)
    return Outcome(not details, summary + (f"; {len(details)} worse than the baseline" if details else ""), details)


def comparable(report: dict) -> dict:
    """Returns what of llmprobe's report is kept as the baseline: outcomes and faults, without times and texts."""
    results = report["conformance"]["results"]
    return {
        "outcomes": {result["id"]: result["outcome"] for result in results},
        "faults": sorted(fault["id"] for result in results for fault in result["failures"]),
        "supported": {entry["id"]: entry["supported"] for entry in report["coverage"]["entries"]},
    }


def worse(before: dict, now: dict) -> list[str]:
    """Returns what got worse. llmprobe's own `--baseline` overlooks a test that passed and is now inconclusive."""
    found = [
        f"{name} passed, and is now {now['outcomes'].get(name, 'gone')}"
        for name, outcome in before["outcomes"].items()
        if outcome == "pass" and now["outcomes"].get(name) != "pass"
    ]
    found += [f"{name} was supported" for name, had in before["supported"].items() if had and not now["supported"].get(name)]
    return found + [f"{name} holds no longer" for name in now["faults"] if name not in before["faults"]]


def llm_comply(suite: str, form: str, model: str, *more: str) -> Step:
    """Returns the step that runs llm-comply for one API.

    The model's name is one that llm-comply takes for a reasoning model, or it would skip those tests.
    """

    def body(run: Run) -> Outcome:
        model_name = model if run.server.model == "demo" else run.server.model
        command: list[object] = [
            run.tools.python("sdks").with_name("llm-comply"), "--format", form, "-u", f"{run.server.base}/v1",
            "-k", run.server.key, "-m", model_name, "--json", *more,
        ]  # fmt: skip
        done = execute(run, suite, command, 120)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            return Outcome(False, done.failure or "no report", done.tail())
        return judge(suite, dict(verdict(test) for test in report["results"] if test["status"] != "skipped"))

    return Step(suite, body)


def verdict(test: dict) -> tuple[str, str | None]:
    """Returns the id of an llm-comply test and its fault."""
    return test["id"], None if test["status"] == "passed" else "; ".join(test["errors"])[:400]


def openai_tests(run: Run) -> Outcome:
    """Runs the tests of the openai package whose routes the server has, strictly typed.

    They send the key `My API Key`; the plugin `openai_key` of suites/ replaces it. The tests' files stay as published.
    """
    source, report = run.tools.openai_source, run.reports / "openai-tests.xml"
    resources = source / "tests" / "api_resources"
    folders = ["chat", "responses"]
    files = ["completions", "embeddings", "models", "files", "batches", "responses"]
    done = execute(
        run,
        "openai-tests",
        [
            run.tools.python("sdks"), "-m", "pytest", "-p", "openai_key", "-p", "no:cacheprovider", "-n0", "-q",
            "--durations=0", "-W", "default", f"--junitxml={report}", "-k", "strict and (create or list or count)",
            *(resources / folder for folder in folders), *(resources / f"test_{name}.py" for name in files),
        ],
        120,
        cwd=source,
        TEST_API_BASE_URL=f"{run.server.base}/v1",
        PYTHONPATH=f"{HERE / 'suites'}:{source}",
    )  # fmt: skip
    if not report.exists():
        return Outcome(False, done.failure or "no report", done.tail())
    results = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        faults = [child for child in case if child.tag in ("failure", "error")]
        name = re.sub(r"^tests\.api_resources\.", "", case.get("classname", "")) + "::" + case.get("name", "")
        results[name] = faults[0].get("message", "")[:300] if faults else None
    return judge("openai-tests", results)


def schemathesis(run: Run) -> Outcome:
    """Sends generated requests to every documented route; `--schemathesis-cases` sets how many for each."""
    cases = run.cases
    command: list[object] = [
        run.tools.python("sdks").with_name("schemathesis"), "run", f"{run.server.base}/openapi.json",
        "--url", run.server.base, "-H", f"Authorization: Bearer {run.server.key}", "--no-color",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--workers", "1", "--seed", "20260824", "--generation-database", "none", "--continue-on-failure",
        "--request-timeout", "30", "--max-examples", cases or 40, "--warnings", "off",
        "--report", "junit", "--report-junit-path", run.reports / "schemathesis.xml",
    ]  # fmt: skip
    if cases is None:
        command += ["--phases", "examples,coverage,fuzzing", "--max-time", "80"]
    # It keeps what it generated in its folder, and an earlier run's cases may not fit the document any more.
    folder = run.reports / "schemathesis"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    done = execute(run, "schemathesis", command, 110 if cases is None else 6 * 3600, cwd=folder)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    found = [line.strip() for line in lines if re.search(r"\d+ (generated|test cases|passed|found)", line)]
    summary = "; ".join(found[-3:]) or (lines[-1].strip("= ") if lines else "")
    start = next((at for at, line in enumerate(lines) if "FAILURES" in line), max(len(lines) - 60, 0))
    return Outcome(done.failure is None, "; ".join(filter(None, [done.failure, summary])), lines[start : start + 200])
