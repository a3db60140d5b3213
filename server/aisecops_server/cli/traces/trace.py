"""``aisecops trace``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.traces"
_STORY = "aisecops_server.cli.traces.trace_investigation"

trace = group(
    "trace",
    help="Look at what agents proposed and what was decided.",
    entries={
        "list": Entry(f"{_HERE}.trace_queries:list_traces", "List traces, newest first."),
        "facets": Entry(f"{_HERE}.trace_queries:list_facets", "Count traces by each of their values."),
        "show": Entry(f"{_HERE}.trace_queries:show_trace", "Show every gate that a trace's plans passed."),
        "graph": Entry(f"{_STORY}:graph", "Show how sources became a plan, what decided it, and what came of it."),
        "diff": Entry(f"{_STORY}:diff", "Set what was planned, decided, granted and executed side by side."),
        "tail": Entry(f"{_HERE}.trace_queries:tail_traces", "Follow decisions as they are recorded."),
        "export": Entry(
            f"{_HERE}.export_commands:export_traces", "Write traces as OTLP, OCSF, CloudEvents, SARIF or NDJSON."
        ),
        "import": Entry(f"{_HERE}.trace_files:import_traces", "Read recorded agent traces of other systems."),
        "evaluate": Entry(f"{_HERE}.trace_files:evaluate_traces", "Decide imported tool calls as a dry run."),
        "report": Entry(f"{_HERE}.trace_report:report_traces", "Say what the policy would have blocked of them."),
        "forget": Entry(f"{_HERE}.trace_files:forget_traces", "Drop imported recordings of traces."),
    },
    examples="""
    aisecops trace list --outcome blocked --limit 20
    aisecops trace show 4bf92f3577b34da6a3ce929d0e0e4736
    aisecops trace tail
    """,
)
