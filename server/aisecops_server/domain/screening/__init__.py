"""What stands in a text that goes into a model or comes out of one, found by patterns and checksums.

Nothing here decides: it tells what it saw and where, in characters of the text as it was given. What that means
is policy's to say.
"""
