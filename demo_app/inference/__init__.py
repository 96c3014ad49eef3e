"""From pictures, videos and folders to pose records; knows no user interface."""
