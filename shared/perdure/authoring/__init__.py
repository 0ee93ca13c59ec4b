"""What users write with: decorators, functions of a running workflow or activity, converters.

May live here: sugar that reads classes and functions into definitions and builds requests for the
host (:mod:`perdure.core.host`). Must not be known here: ports, engine, adapters, network. Users
import it as ``perdure.workflow``, ``perdure.activity``, ``perdure.common``, ``perdure.exceptions``
and ``perdure.converter``.

``signatures`` reads parameters; ``marks`` is what decorators leave behind; ``definitions`` reads
workflow classes; ``workflow_decorators`` and ``activity_decorators`` mark; ``workflow`` and
``scheduling`` speak to the host; ``activity`` speaks to the ``activity_context`` that an activity
runner sets; ``converter`` with ``encoding`` and ``decoding`` turns values into payloads; ``app`` is
a deployment's set of definitions.
"""
