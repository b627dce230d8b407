"""Everything that a project's pipelines need on AWS, as values: one module per reason that something is there.

`resources` is pure and asks nobody: `plan` works without an account. `aws.template` writes the values down.
"""

from headrace.aws.declare.resources.build import resources
from headrace.aws.declare.resources.query import read_queries
from headrace.aws.declare.resources.values import Resource

__all__ = ["Resource", "read_queries", "resources"]
