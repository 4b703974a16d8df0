"""The entry point: what a Hugging Face Space runs, and `python app.py`."""

from gendiff.studio import Studio
from gendiff.ui import build, launch

studio = Studio.with_hub()
demo = build(studio)

if __name__ == "__main__":
    studio.share_cores()
    launch(demo, prevent_thread_lock=True)  # the page first; the models load behind it
    studio.preload()
    demo.block_thread()
