"""What holds for every test: no property is judged by the time that an example takes."""

from hypothesis import settings

settings.register_profile("plait", deadline=None, print_blob=True)
settings.load_profile("plait")
