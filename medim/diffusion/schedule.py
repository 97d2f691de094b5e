r"""How much of a sequence is masked at time t.

A schedule is \alpha(t), the probability that a token is still itself, with \alpha(0) = 1 and \alpha(1) = 0. The
continuous-time bound weights the cross-entropy of masked tokens by -\alpha'(t) / (1 - \alpha(t))
(Sahoo et al. 2024, arXiv 2406.07524, eq. 10; MeDiM eq. 6 is its finite-difference form).
"""

import torch

SMALLEST_T = 1e-3
"""Training times lie in [SMALLEST_T, 1]; below it a sequence of this project's lengths has no masked token."""


class LogLinear:
    r"""\alpha(t) = 1 - t, hence weight 1 / t. (\sigma(t) = -log \alpha(t) is the log-linear noise of MDLM.)"""

    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        return 1 - t

    def weight(self, t: torch.Tensor) -> torch.Tensor:
        """-alpha'(t) / (1 - alpha(t)), zero at t = 0 where nothing is masked; any shape."""
        return torch.where(t > 0, 1 / t.clamp_min(SMALLEST_T), torch.zeros_like(t))
