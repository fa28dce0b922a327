"""Checks queries of Prometheus against the metrics that the services export."""

import re

from .basics import ROOT, Failed, require


def read_series():
    """Returns the labels of each series, read from the source of the table of metrics."""
    table = (ROOT / "crates/service/src/metrics/table.rs").read_text()
    found = re.findall(r'^    \w+ = "(\w+)" (Counter|Gauge|Histogram)[^\[]*\[([^\]]*)\], "', table, re.M)
    require(len(found) > 20, "table.rs has another form")
    series = {"up": {"job", "instance"}}
    for name, kind, labels in found:
        labels = {"job", "instance", *re.findall(r'"(\w+)"', labels)}
        if kind == "Histogram":
            series |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            series[name] = labels
    return series


def check_query(query):
    """Checks that a query parses, and that its metrics and labels exist."""
    import promql_parser

    query = query.replace("$__rate_interval", "1m")
    try:
        tree = promql_parser.parse(query)
    except ValueError as error:
        raise Failed(f"{query}\n{error}") from error
    series, groups, present, mistakes = read_series(), set(), {"job", "instance"}, []

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            labels = series.get(node.name)
            if labels is None:
                mistakes.append(f"no metric {node.name}")
                return
            present.update(labels)
            mistakes.extend(f"{node.name} has no label {matcher.name}" for matcher in node.matchers.matchers if matcher.name not in labels)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            groups.update(node.modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            groups.update(node.modifier.matching.labels)

    promql_parser.walk(tree, visit)
    mistakes += [f"no metric in it has the label {label}" for label in groups - present]
    require(not mistakes, f"{query}\n{'; '.join(mistakes)}")
