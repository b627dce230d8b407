"""A deploy or destroy of the small stack as a process of its own, which a test may kill at any step.

usage: python deploying.py deploy|destroy|destroy-data STACK FOLDER [CHANGE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from headrace.aws.declare.names import Names
from headrace.aws.operate.deploy import deploy
from headrace.aws.operate.destroy import Unmaking
from headrace.aws.operate.inventory import Item
from headrace.aws.operate.owned import Scope, scope_of
from headrace.aws.session import Session

sys.path.insert(0, str(Path(__file__).parent))

from small_stack import ACCOUNT, PROJECT, REGION, quick, template, wanted


def scope(name: str) -> Scope:
    return scope_of(name, template(name), ACCOUNT, REGION, Names(name, REGION, ACCOUNT).bucket("artifacts"))


def unmaking(session: Session, name: str, delete_data: bool) -> Unmaking:
    return Unmaking(quick(session, name), PROJECT, scope(name), delete_data)


def of_stack(items: list[Item], name: str) -> list[Item]:
    return [item for item in items if name in item.name]


if __name__ == "__main__":
    verb, name, folder = sys.argv[1:4]
    session = Session(REGION)
    if verb == "deploy":
        deploy(session, wanted(name, Path(folder)), print, stack=quick(session, name))
    else:
        unmaking(session, name, verb == "destroy-data").destroy(print)
