"""What deployed functions asked of AWS, by their own count, is what their roles were made from."""

from __future__ import annotations

from typing import get_args

from headrace.aws.declare.policy import calls_of
from headrace.aws.declare.resources.functions import parts_of

from .both import Story
from .deployed import Role


def test_functions_ask_for_nothing_that_their_roles_were_not_made_for(story: Story) -> None:
    both = story("strict")
    both.put("a.csv", "1,1 2,2 2,3 3,x")
    both.put_bytes("poison.csv", b"nothing,like\nthe,contract\n")
    both.same()
    both.put("a.csv", "1,1")
    both.put("b.csv", "1,2")
    both.same()
    both.delete("a.csv")
    assert both.rows(both.same()) == {1: 2}
    stack = both.stack
    stack.functions.invoke(FunctionName=stack.of("strict").publish, Payload=b'{"do": "scan"}')
    for role in get_args(Role):
        lines = [line for line in stack.lines("strict", role) if line["event"] == "requests"]
        counted = {tuple(name.split(":")) for line in lines for name in line["requests"]}
        asked = {name for name in counted if len(name) == 2}  # the others are units, not requests
        assert len(asked) > 5, asked
        assert asked <= {call.operation for call in calls_of(parts_of(stack.project.pipelines["strict"], role))}
