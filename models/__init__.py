"""Head-pose models: geometry, face detection, TRG, the estimator. torch and numpy only."""
