"""Live mode: the websocket that a webcam's frames come in on, and the component that sends them."""
