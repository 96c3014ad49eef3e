"""468 points on a face: MediaPipe's FaceMesh as a torch module, and its two passes on a picture."""
