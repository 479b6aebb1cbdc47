"""`orch status`: where every database stands."""

from __future__ import annotations

from orchestrator.cli import options
from orchestrator.execution.scheduler import JOBS, JOBS_PER_SERVER


def command(
    file: options.File = None,
    env_file: options.EnvFile = None,
    only: options.Only = None,
    exclude: options.Exclude = None,
    no_deps: options.NoDeps = False,
    jobs: options.Jobs = JOBS,
    jobs_per_server: options.JobsPerServer = JOBS_PER_SERVER,
    wait: options.Wait = 0.0,
    embedded: options.Embedded = False,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Show every database: does it exist, its version, what is pending, what is wrong. Changes nothing.

    Exits with 5 if anything is wrong that stops a migration.

    Examples: orch status · orch status --only inventory --no-deps · orch status --output json
    """
    from orchestrator.cli.console import out, out_json, pasteable, say, say_failures
    from orchestrator.errors import ExitCode, exit_code_of
    from orchestrator.execution.survey import survey
    from orchestrator.operations.assembly import assemble
    from orchestrator.views.plain import PlainView
    from orchestrator.views.status import not_created, status_of, status_text

    assembly = assemble(file, env_file, only, exclude, no_deps=no_deps)
    run = assembly.run(PlainView(say), embedded=embedded, jobs=jobs, jobs_per_server=jobs_per_server, wait=wait)
    surveys = survey(run)
    entries = [status_of(d, run.catalogs[d.id], surveys[d.id], run.read_script) for d in assembly.databases]
    refused = {id: error for id, found in surveys.items() if (error := found.refused(id)) and not found.failure}
    entries = [not_created(entry, refused[entry["id"]]) if entry["id"] in refused else entry for entry in entries]
    if output is options.Output.json:
        out_json({"format": 1, "databases": entries})
    else:
        out(pasteable(status_text(entries)))
    failures = [(id, found.failure) for id, found in surveys.items() if found.failure]
    say_failures(failures)
    failed = {*refused, *(id for id, _ in failures)}  # their problem is the failure itself
    conflict = any(problem["blocks"] for entry in entries for problem in entry["problems"] if entry["id"] not in failed)
    codes = [*(failure.exit_code for _, failure in failures), *(int(error.exit_code) for error in refused.values())]
    return exit_code_of([*codes, int(ExitCode.CONFLICT if conflict else 0)])
