"""Every noise schedule, once; a new one is added here and gets all tests of its kind."""

from dnamdlm.diffusion.schedules import Cosine, CosineSquared, Geometric, Linear, LogLinear

# alpha runs from 1 to 0, exactly or to far below the tolerances of the tests.
EXACT = [
    LogLinear(),
    Cosine(),
    CosineSquared(),
    Linear(sigma_min=0.0, sigma_max=45.0),
    Geometric(sigma_min=1e-13, sigma_max=45.0),
]
# the presets of the original code: alpha(1) > 0 or alpha(0) < 1.
ORIGINAL = [
    LogLinear(floor=1e-3),
    Cosine(floor=1e-3),
    CosineSquared(floor=1e-3),
    Linear(sigma_min=1e-3, sigma_max=7.0),
    Linear(),
    Geometric(),
]
SCHEDULES = EXACT + ORIGINAL
