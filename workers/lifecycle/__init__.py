"""Running a job from claim to its end, and taking back the jobs of workers that died."""
