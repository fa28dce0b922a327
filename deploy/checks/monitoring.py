"""Checks the monitoring files: alerts and configuration of Prometheus, dashboards of Grafana."""

import json
import re

from .basics import DEPLOY, ROOT, call, need, read_yaml, report_unchecked, require
from .promql import check_query


def check_prometheus():
    """Checks that each alert has a valid query, a test and a line in the runbook, then runs promtool."""
    folder = DEPLOY / "prometheus"
    rules = read_yaml(folder / "alerts.yml")["groups"]
    runbook = (ROOT / "docs/OPERATING.md").read_text()
    tests = read_yaml(folder / "alerts_test.yml")["tests"]
    fires = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    alerts = [rule for group in rules for rule in group["rules"]]
    for rule in alerts:
        name = rule["alert"]
        check_query(rule["expr"])
        require(name in fires, f"no test lets {name} fire")
        require(f"| <a id=\"{name.lower()}\"></a>`{name}` |" in runbook, f"docs/OPERATING.md has no line for {name}")
        require(rule["annotations"]["runbook"] == f"docs/OPERATING.md#{name.lower()}", f"{name} has another runbook")
    if need("promtool", "prometheus"):
        call(["promtool", "check", "config", folder / "prometheus.yml"])
        call(["promtool", "check", "rules", folder / "alerts.yml"])
        call(["promtool", "test", "rules", folder / "alerts_test.yml"])
    return f"{len(alerts)} alerts"


def check_grafana():
    """Checks ids, places and queries of the panels, and the version of the provisioning files."""
    count = 0
    for file in sorted((DEPLOY / "grafana/dashboards").glob("*.json")):
        dashboard = json.loads(file.read_text())
        panels = dashboard["panels"]
        require(len({panel["id"] for panel in panels}) == len(panels), f"{file.name}: an id is there twice")
        places = [(panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y) for panel in panels
                  for x in range(panel["gridPos"]["w"]) for y in range(panel["gridPos"]["h"])]
        require(len(set(places)) == len(places) and max(places)[0] < 24, f"{file.name}: panels overlap")
        names = {variable["name"] for variable in dashboard["templating"]["list"]}
        for panel in panels:
            for target in panel.get("targets", []):
                query = target["expr"]
                asked = set(re.findall(r"\$\{?(\w+)", query)) - {"__rate_interval"}
                require(asked <= names, f"{file.name}, {panel['title']}: no variable {asked - names}")
                check_query(query)
                count += 1
    for file in (DEPLOY / "grafana/provisioning").rglob("*.yml"):
        require(read_yaml(file)["apiVersion"] == 1, f"{file}: no apiVersion")
    report_unchecked("grafana: form of panels and of provisioning files (Grafana has no checker to be had)")
    return f"{count} queries"
