"""Where the faces of a picture are: the detector's protocol and facenet-pytorch's MTCNN behind
it."""
