"""What all tests share: none fails for taking long, on a busy machine some do."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
