"""The checks that deploy/check runs, one module per kind of deployment file.

A check is a function without arguments. It returns a short remark for the summary or None, and raises basics.Failed if a file
has a mistake. To add one, write the function and list it in CHECKS of deploy/check.

    basics        what all checks use: commands, requirements, YAML, the list of what was not checked
    tools         installs the tools
    compose       docker-compose.yml
    ci            workflows, Dockerfiles, scripts
    kubernetes    manifests and overlays
    clouds        ECS and Cloud Run
    machine       one machine without containers: systemd, nginx, install.sh
    promql        one query of Prometheus
    monitoring    alerts of Prometheus, dashboards of Grafana
    guide         docs/DEPLOYING.md

Modules import packages from PyPI inside functions: until tools has installed them, only Python's own library is there.
"""
