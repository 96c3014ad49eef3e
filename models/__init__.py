"""Head-pose models: geometry, face detection, the TRG network, the estimator. torch and numpy only."""
