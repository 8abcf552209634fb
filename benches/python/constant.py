"""The constant function, as `basic_auth.ini` names it."""

import functions
import keys

authenticate_request = functions.constant(keys.username(keys.SUBJECT))
