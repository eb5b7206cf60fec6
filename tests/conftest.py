"""Settings of all tests."""

from hypothesis import settings

# The machines that run the tests are shared: the time of one example says nothing.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
