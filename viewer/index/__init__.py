"""An index of a data set's annotations: built once, asked often without torch and cv2."""
