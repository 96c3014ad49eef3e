"""TRG Studio's entry: `python app.py`, here and on a Hugging Face Space."""

from demo_app.config import AppConfig
from demo_app.ui import serve

if __name__ == "__main__":
    serve(AppConfig.from_environment())
