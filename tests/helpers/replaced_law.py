"""An enumerated law under noise that replaces tokens: chances, predictions, kernels, by sums."""

import itertools

import torch
from torch import Tensor, nn

from dnamdlm.diffusion.uniform_noise import noise_probs, reverse_probs
from tests.helpers.oracle import TabulatedLaw


class ReplacedLaw:
    """The process of uniform or hybrid noise over all sequences of a `TabulatedLaw`."""

    def __init__(self, law: TabulatedLaw, share: float):
        self.law = law
        self.noise = noise_probs(law.real_tokens, law.mask_id, share)
        self.symbols = [*range(law.num_symbols)] + ([law.mask_id] if share < 1 else [])
        self.states = torch.tensor(list(itertools.product(self.symbols, repeat=law.length)))

    def index_of(self, states: Tensor) -> Tensor:
        """Position in `states` of noisy sequences."""
        base = len(self.symbols)
        place = base ** torch.arange(self.law.length - 1, -1, -1)
        return (states * place).sum(dim=-1)

    def token_chance(self, x0: Tensor, xt: Tensor, alpha: Tensor) -> Tensor:
        """q_t(z | x) of each position."""
        return alpha * (x0 == xt) + (1 - alpha) * self.noise[xt]

    def chance(self, x0: Tensor, xt: Tensor, alpha: Tensor) -> Tensor:
        """q_t(z | x) of whole sequences."""
        return self.token_chance(x0, xt, alpha).prod(dim=-1)

    def marginal(self, alpha: Tensor) -> Tensor:
        """p_t of every noisy sequence."""
        clean = self.law.sequences[:, None]
        return self.law.probs @ self.chance(clean, self.states[None], alpha)

    def prior(self) -> Tensor:
        """The law of noise alone."""
        return self.noise[self.states].prod(dim=-1)

    def others(self, xt: Tensor, alpha: Tensor) -> Tensor:
        """The exact c: p(x_i | the noisy tokens at all other positions), (B, L, V)."""
        law = self.law
        chances = self.token_chance(law.sequences[None], xt[:, None], alpha)
        result = torch.zeros(*xt.shape, law.vocab_size, dtype=torch.float64)
        for place in range(law.length):
            rest = [other for other in range(law.length) if other != place]
            joint = law.probs * chances[:, :, rest].prod(dim=-1)
            one_hot = nn.functional.one_hot(law.sequences[:, place], law.num_symbols).double()
            found = joint @ one_hot
            result[:, place, : law.num_symbols] = found / found.sum(dim=-1, keepdim=True)
        return result

    def kernel(self, alpha_t: Tensor, alpha_s: Tensor) -> Tensor:
        """p(z_s | z_t) of the sampler for all pairs of noisy sequences, (N, N)."""
        rows = len(self.states)
        probs = reverse_probs(
            self.others(self.states, alpha_t.double()),
            self.states,
            alpha_t.double().expand(rows),
            alpha_s.double().expand(rows),
            self.noise,
        )
        picked = [probs[:, place, self.states[:, place]] for place in range(self.law.length)]
        return torch.stack(picked).prod(dim=0)

    def reverse_transitions(self, alphas: list[float]) -> Tensor:
        """The law of the reverse chain from noise, by Bayes' rule with sums over clean tokens."""
        found = self.prior()
        for step in range(len(alphas) - 1, 0, -1):
            found = found @ self._bayes(alphas[step], alphas[step - 1])
        return found

    def _bayes(self, alpha_t: float, alpha_s: float) -> Tensor:
        """Each position by the definition: sum over x of p(x_i | z_t) q(z_s | z_t, x_i)."""
        law, n = self.law, len(self.states)
        stays = alpha_t / alpha_s if alpha_s else 1.0
        result = torch.ones(n, n, dtype=torch.float64)
        chances = self.token_chance(law.sequences[None], self.states[:, None], _wide(alpha_t))
        posterior = law.probs * chances.prod(dim=-1)
        posterior = posterior / posterior.sum(dim=-1, keepdim=True)
        for place in range(law.length):
            of_token = (
                posterior @ nn.functional.one_hot(law.sequences[:, place], law.num_symbols).double()
            )
            zt = self.states[:, place]
            total = torch.zeros(n, n, dtype=torch.float64)
            for x in range(law.num_symbols):
                joint = torch.zeros(n, len(self.symbols), dtype=torch.float64)
                for number, zs in enumerate(self.symbols):
                    first = alpha_s * (zs == x) + (1 - alpha_s) * self.noise[zs]
                    second = stays * (zt == zs).double() + (1 - stays) * self.noise[zt]
                    joint[:, number] = first * second
                shares = joint / joint.sum(dim=-1, keepdim=True).clamp(min=1e-300)
                number_of = {symbol: number for number, symbol in enumerate(self.symbols)}
                columns = torch.tensor([number_of[int(s)] for s in zt])
                total += of_token[:, x : x + 1] * shares[:, columns]
            result *= total
        return result

    def chain_bound(self, alphas: list[float]) -> Tensor:
        """The bound of the chain for each clean sequence: E_q[log q(path | x) - log p(path)].

        By enumeration of all paths of noisy sequences, step by step, since both chains factor.
        """
        law = self.law
        bound = torch.zeros(len(law.sequences), dtype=torch.float64)
        for step in range(len(alphas) - 1, 0, -1):
            alpha_t, alpha_s = alphas[step], alphas[step - 1]
            model = self._bayes(alpha_t, alpha_s)
            stays = _wide(alpha_t / alpha_s if alpha_s else 1.0)
            forward = (
                stays * (self.states[:, None] == self.states[None])
                + (1 - stays) * self.noise[self.states][:, None]
            ).prod(dim=-1)
            for number, x in enumerate(law.sequences):
                at_s = self.chance(x[None], self.states, _wide(alpha_s))
                joint = forward * at_s[None]
                at_t = joint.sum(dim=1, keepdim=True)
                posterior = joint / at_t.clamp(min=1e-300)
                logs = torch.xlogy(posterior, posterior) - torch.xlogy(posterior, model)
                bound[number] += (at_t[:, 0] * logs.sum(dim=1)).sum()
        return bound


def _wide(value: float) -> Tensor:
    """A number in float64."""
    return torch.tensor(value, dtype=torch.float64)
