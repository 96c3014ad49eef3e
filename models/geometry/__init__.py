"""Pure functions on arrays: rotations, cameras, boxes. Imports nothing else of this project.

Frames: `cam` is OpenCV's (x right, y down, z forward); `head` has the same axes when the face is
frontal (x to image right, y down, z into the head), so R_cam_from_head = I is a face that looks at
the camera.
"""
