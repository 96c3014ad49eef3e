"""TRG Studio's entry: `python app.py`, here and on a Hugging Face Space."""

from demo_app.config import AppConfig

if __name__ == "__main__":
    from demo_app.ui import serve  # processes that index start from this file too, without the page

    serve(AppConfig.from_environment())
