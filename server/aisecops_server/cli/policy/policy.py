"""``aisecops policy``: its commands by name."""

from __future__ import annotations

from aisecops_server.cli.tree import Entry, group

_HERE = "aisecops_server.cli.policy"
_CHECKS = "aisecops_server.cli.policy.policy_checks"
_FILES = "aisecops_server.cli.policy.policy_files"

policy = group(
    "policy",
    help="Write policy, and know before a merge what it will do.",
    entries={
        "init": Entry(f"{_FILES}:init", "Make a policy repository that passes its own checks."),
        "new-rule": Entry(f"{_FILES}:new_rule", "Write a rule, its tests and its page from one template."),
        "schemas": Entry(f"{_FILES}:schemas", "Write JSON Schemas of all tables, for editors."),
        "check": Entry(f"{_CHECKS}:check", "Check a policy as a pull request is checked."),
        "fmt": Entry(f"{_CHECKS}:fmt", "Check, or write, how Rego is formatted."),
        "compile": Entry(f"{_CHECKS}:compile_", "Check that tables fit and Rego compiles."),
        "lint": Entry(f"{_CHECKS}:lint", "Check what rules say of themselves and what they do."),
        "conftest": Entry(f"{_CHECKS}:conftest", "Check the conditions over tables and manifests."),
        "test": Entry(f"{_CHECKS}:test", "Run the tests, and see which lines none runs."),
        "rules": Entry(f"{_CHECKS}:rules", "Check that tests notice when a rule never or always fires."),
        "impact": Entry(f"{_HERE}.policy_impact:impact", "Say what a change would have done to recorded decisions."),
        "corpus": Entry(f"{_HERE}.policy_corpus:corpus", "Take recorded decisions along, without their private words."),
        "golden": Entry(f"{_HERE}.policy_golden:golden", "Decide golden cases, and make them of real decisions."),
        "why": Entry(f"{_HERE}.policy_rules:why", "Say what a rule is for, who owns it, and how often it was found."),
        "catalogue": Entry(f"{_HERE}.policy_rules:catalogue", "Write pages of all rules of a revision."),
        "build": Entry(f"{_CHECKS}:build", "Build and sign the bundle, and keep it."),
        "announce": Entry(f"{_HERE}.policy_channel:announce", "Say, signed, which commit a channel is to serve."),
        "announced": Entry(f"{_HERE}.policy_channel:announced", "Show what a channel announces."),
        "channel-key": Entry(
            f"{_HERE}.policy_channel:channel_key", "Make a key that announces, or print its public half."
        ),
        "changes": Entry(f"{_CHECKS}:changes", "Say what changed in meaning, and what was taken away."),
    },
    examples="""
    aisecops policy init ./policy
    aisecops policy new-rule business/refund_at_night --effect require_approval
    aisecops policy check --base origin/main
    aisecops policy announce prod --key channel.pem
    """,
)
