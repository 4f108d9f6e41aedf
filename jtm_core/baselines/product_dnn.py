"""YouTube's product-DNN: a user vector from time windows, an item's score is its inner product with the item's vector.

Covington et al. 2016, in the form that JTM compares with (JTM, section 4.2; TDM, section 4.2): the windows are JTM's, the
tower 240 -> 128 -> 64 -> 24 has JTM's widths with PReLU between, samples, targets and the budget of negatives are JTM's too.
Retrieval is exact search for the largest inner products (:mod:`jtm_core.baselines.inner_products`); for approximate search
:attr:`ProductDNN.item_vectors` and :meth:`ProductDNN.user_vectors` are public.

Trained with the sampled softmax: of each sample's target and negatives the target shall win. Negatives are drawn as
``negative_draw`` says: by how often items occur in training (plus one, so that every item can be drawn), or all items alike;
subtracting ``log Q`` of the draw from each logit makes the sampled loss an estimate of the full softmax's (Bengio and
Senecal 2008). Without it popular items, drawn so often as negatives, would be pushed down. A negative that is the sample's
own target is masked.

Shape letters: S samples, T behaviours, W windows, D vector width, N negatives, B blocks of samples that share negatives.
"""

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding

from jtm_core.baselines.epochs import Curve, Oversight, moments_of, restore_moments_of, sample_batches, train_patiently
from jtm_core.baselines.inner_products import ProductIndex
from jtm_core.baselines.protocol import check_query
from jtm_core.batches import gather_runs
from jtm_core.behaviours import Ints, Ragged, TrainingHistories
from jtm_core.config import ModelConfig, TrainingConfig
from jtm_core.features import Samples, window_bounds
from jtm_core.keeping import State, part, prefixed
from jtm_core.seeding import generator
from jtm_core.training import TrainingPlan

Floats = NDArray[np.float32]

_UNSEEN: Oversight["ProductNetwork"] = Oversight()


class ProductNetwork(nn.Module):
    """Vectors of items as behaviours and as targets, and the tower from windows to a user's vector.

    Parameters
    ----------
    config : ModelConfig
        Windows and widths; ``hidden_widths[2]`` is not used, as the last layer is as wide as a vector.
    num_items : int
    rng : Generator
        Draws all starting values, as :func:`jtm_core.model.make_network` does.
    """

    def __init__(self, config: ModelConfig, num_items: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.config = config
        width, (first, second, _) = config.embedding_width, config.hidden_widths
        self.behaviours, self.items = (nn.Embedding(num_items, width, sparse=True) for _ in range(2))
        self.tower = nn.Sequential(
            nn.Linear(len(config.window_sizes) * width, first), nn.PReLU(first), nn.Linear(first, second), nn.PReLU(second)
        ).append(nn.Linear(second, width))
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if not name.startswith("tower"):
                    parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape, dtype=np.float32) * np.float32(0.1)))
                elif parameter.ndim == 2:
                    bound = (6 / sum(parameter.shape)) ** 0.5
                    parameter.copy_(torch.from_numpy(rng.uniform(-bound, bound, parameter.shape).astype(np.float32)))
                elif name.endswith("bias"):
                    parameter.zero_()

    def user_vectors(self, items_T: Tensor, bounds_S: Tensor) -> Tensor:
        """Vectors of users whose windows are positions (S, W + 1) among some behaviours: float32 (S, D)."""
        vectors_TD = self.behaviours(items_T)
        sums_TD = torch.cat([vectors_TD.new_zeros(1, vectors_TD.shape[1]), vectors_TD]).double().cumsum(dim=0)
        counts_SW = bounds_S.diff(dim=1).clamp(min=1)
        pooled_SWD = embedding(bounds_S, sums_TD).diff(dim=1) / counts_SW[:, :, None]
        users: Tensor = self.tower(pooled_SWD.flatten(1).to(vectors_TD.dtype))
        return users


def new_product_network(model: ModelConfig, num_items: int, seed: int) -> ProductNetwork:
    """A network that nothing has trained yet."""
    return ProductNetwork(model, num_items, generator(seed, "product-dnn"))


@dataclass(frozen=True, slots=True)
class ItemDraw:
    """The law by which negatives are drawn.

    Parameters
    ----------
    running : float64 array (num_items,)
        Sum of the shares of all items up to each.
    log_shares : float32 tensor (num_items,)
        ``log Q`` of every item.
    """

    running: NDArray[np.float64]
    log_shares: Tensor

    @classmethod
    def fit(cls, histories: Ragged, num_items: int, negative_draw: Literal["even", "popularity"]) -> Self:
        """Equal shares for ``even``; for ``popularity`` those of the items among all behaviours, one behaviour added to each item."""
        counts = np.ones(num_items) if negative_draw == "even" else np.bincount(histories.values, minlength=num_items) + 1.0
        return cls(np.cumsum(counts) / counts.sum(), torch.from_numpy(np.log(counts / counts.sum()).astype(np.float32)))

    def draw(self, rng: np.random.Generator, shape: tuple[int, int]) -> Ints:
        """Items drawn with replacement: int64 of ``shape``."""
        drawn = np.searchsorted(self.running, rng.random(shape), side="right").astype(np.int64)
        return np.minimum(drawn, len(self.running) - 1)


def sampled_softmax(network: ProductNetwork, users_SD: Tensor, targets_S: Tensor, negatives_BN: Tensor, log_shares: Tensor) -> Tensor:
    """Mean over samples of ``-log softmax`` of the target among target and negatives, each logit less its ``log Q``.

    Parameters
    ----------
    network : ProductNetwork
    users_SD : float32 tensor (S, D)
    targets_S : int64 tensor (S,)
    negatives_BN : int64 tensor (B, N)
        Negatives of each block of ``ceil(S / B)`` neighbouring samples.
    log_shares : float32 tensor (num_items,)

    Returns
    -------
    float32 tensor ()
    """
    count, num_blocks = len(targets_S), len(negatives_BN)
    size = -(-count // num_blocks)
    padded_BSD = torch.nn.functional.pad(users_SD, (0, 0, 0, size * num_blocks - count)).view(num_blocks, size, -1)
    products = torch.bmm(padded_BSD, network.items(negatives_BN).transpose(1, 2)) - log_shares[negatives_BN][:, None]
    logits_SN = products.flatten(0, 1)[:count]
    own_SN = negatives_BN.repeat_interleave(size, dim=0)[:count] == targets_S[:, None]
    positive_S = (users_SD * network.items(targets_S)).sum(dim=1) - log_shares[targets_S]
    logits = torch.cat([positive_S[:, None], logits_SN.masked_fill(own_SN, -torch.inf)], dim=1)
    return cross_entropy(logits, torch.zeros(count, dtype=torch.int64))


def train_product_dnn(
    network: ProductNetwork,
    histories: TrainingHistories,
    training: TrainingConfig,
    plan: TrainingPlan,
    oversight: Oversight[ProductNetwork] = _UNSEEN,
) -> tuple[ProductNetwork, Curve]:
    """Train a copy of the network.

    Of ``training`` the target, horizon_share, minimum_history, order_noise, batch_samples, negatives, negatives_block, negative_draw,
    learning_rate, rate_schedule and patience count.
    Tables of vectors are updated only in the rows that a batch touched (``torch.optim.SparseAdam``). Equal seeds give equal
    bits on one machine, for any number of threads.

    Parameters
    ----------
    network : ProductNetwork
        Start; not changed.
    histories : TrainingHistories
        What may be learned from.
    training : TrainingConfig
    plan : TrainingPlan
        Its ``first_level`` plays no part.
    oversight : Oversight
        Who judges, for early stopping, and what keeps the state; by default nobody and nothing.

    Raises
    ------
    ValueError
        If no behaviour has enough behaviours before it.
    """
    return train_patiently(_ProductTrainer(copy.deepcopy(network), histories, training, plan), plan, training.patience, oversight)


class _ProductTrainer:
    """The epochs of a network, which is trained in place."""

    def __init__(self, network: ProductNetwork, histories: TrainingHistories, training: TrainingConfig, plan: TrainingPlan) -> None:
        self.network = network
        self._histories, self._training, self._plan = histories, training, plan
        self._law = ItemDraw.fit(histories, len(network.items.weight), training.negative_draw)
        self._optimisers: dict[str, torch.optim.Optimizer] = {
            "sparse": torch.optim.SparseAdam([network.behaviours.weight, network.items.weight], lr=training.learning_rate),
            "dense": torch.optim.Adam(network.tower.parameters(), lr=training.learning_rate),
        }

    def train_epoch(self, epoch: int) -> float:
        rng, losses, sizes = generator(self._plan.seed, "product-dnn-epoch", self._plan.iteration, epoch), list[float](), list[int]()
        for batch in sample_batches(self._histories, self._training, rng, epoch, self._plan.num_epochs):
            loss = _batch_loss(self.network, batch.items, batch.samples, self._law, self._training, rng)
            for optimiser in self._optimisers.values():
                optimiser.param_groups[0]["lr"] = batch.rate_share * self._training.learning_rate
                optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for optimiser in self._optimisers.values():
                optimiser.step()
            losses.append(float(loss.detach()))
            sizes.append(len(batch.samples))
        return float(np.average(losses, weights=sizes))

    def moments(self) -> State:
        held = [prefixed(moments_of(optimiser), f"{name}.") for name, optimiser in self._optimisers.items()]
        return {name: tensor for state in held for name, tensor in state.items()}

    def restore_moments(self, state: State) -> None:
        for name, optimiser in self._optimisers.items():
            restore_moments_of(optimiser, part(state, f"{name}."))


@dataclass(frozen=True, eq=False)
class ProductDNN:
    """A trained product-DNN, searched exhaustively by faiss.

    Parameters
    ----------
    network : ProductNetwork
        Must not change once it was asked.
    losses : tuple of float
        Mean loss per batch of each epoch.
    """

    network: ProductNetwork
    losses: tuple[float, ...]

    @classmethod
    def fit(cls, histories: TrainingHistories, num_items: int, model: ModelConfig, training: TrainingConfig, seed: int) -> Self:
        """Train a new network for ``training.epochs`` epochs; see :func:`train_product_dnn`."""
        plan = TrainingPlan(first_level=0, num_epochs=training.epochs, seed=seed, iteration=0)
        network, curve = train_product_dnn(new_product_network(model, num_items, seed), histories, training, plan)
        return cls(network, curve.losses)

    @property
    def item_vectors(self) -> Floats:
        """Vectors whose inner product with a user's is the item's score: float32 (num_items, D)."""
        vectors: Floats = self.network.items.weight.detach().numpy()
        return vectors

    @torch.no_grad()
    def user_vectors(self, histories: Ragged) -> Floats:
        """Vectors of users by the ends of their histories: float32 (E, D)."""
        bounds = window_bounds(histories.offsets[:-1], histories.offsets[1:], self.network.config.window_sizes)
        users = self.network.user_vectors(torch.from_numpy(histories.values), torch.from_numpy(bounds))
        vectors: Floats = users.numpy()
        return vectors

    def recommend(self, histories: Ragged, num_recommended: int, excluded: Ragged | None = None) -> Ints:
        """List the items of largest inner product; see :class:`jtm_core.baselines.protocol.Recommender`."""
        check_query(histories, num_recommended, excluded, len(self.item_vectors))
        return self._index.largest(self.user_vectors(histories), num_recommended, excluded)

    @cached_property
    def _index(self) -> ProductIndex:
        return ProductIndex(self.item_vectors)


def _batch_loss(
    network: ProductNetwork, items: Ints, samples: Samples, law: ItemDraw, training: TrainingConfig, rng: np.random.Generator
) -> Tensor:
    """Loss of one batch of samples over the flat ``items``, its negatives drawn from ``rng``."""
    runs, bounds = gather_runs(items, samples, network.config.window_sizes)
    users = network.user_vectors(torch.from_numpy(runs.values), torch.from_numpy(bounds))
    num_blocks = -(-len(samples) // training.negatives_block)
    negatives = torch.from_numpy(law.draw(rng, (num_blocks, training.negatives)))
    return sampled_softmax(network, users, torch.from_numpy(samples.targets), negatives, law.log_shares)
