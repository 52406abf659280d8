"""What fuzz.py has schemathesis leave alone: the key that its own requests are made with, which it would find in the list
of keys and revoke, after which everything is 401."""

import os

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    own = os.environ.get("FUZZ_KEY_ID")
    if own and case.path_parameters and case.path_parameters.get("key_id") == own:
        case.path_parameters["key_id"] = f"not-{own}"
