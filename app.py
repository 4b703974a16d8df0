"""The entry point: what a Hugging Face Space runs, and `python app.py`."""

from gendiff.studio import Studio
from gendiff.ui import build, launch

studio = Studio()
demo = build(studio)

if __name__ == "__main__":
    studio.share_cores()
    studio.preload()
    launch(demo)
