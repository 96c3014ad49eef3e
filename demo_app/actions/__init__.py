"""What each button does: plain values in and out, no gradio."""
