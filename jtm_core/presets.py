"""Settings under names: the paper's, the ones that serve users best, and those of the demo."""

from jtm_core.config import DataConfig, EvaluationConfig, JtmConfig, ModelConfig, SplitConfig, TrainingConfig, TreeLearningConfig


def paper_config() -> JtmConfig:
    """The paper's settings where it gives them: next item, own negatives for every sample, greedy with rebalance."""
    return JtmConfig(
        training=TrainingConfig(target="next_item", negatives=100, negatives_block=1, first_level=1),
        tree_learning=TreeLearningConfig(assignment="greedy"),
        split=SplitConfig(num_validation_users=10_000, num_test_users=10_000),
        iterations=10,
    )


def best_config() -> JtmConfig:
    """Our candidate for serving users best; epochs and rate suit mid-sized logs.

    Beside the defaults (random horizon, regret) it ties the levels to each other and draws negatives by popularity, corrected in the loss:
    each lifted recall of validation users at every cut-off on Globo and Amazon Beauty, tied levels on MovieLens-100K as well
    (``docs/LOG.md``). Worth a try on validation users: how much of the past a horizon reaches (``training.horizon_share``); the nodes of
    the beam (``training.nodes``, OTM), at two to three times the price; for logs whose order says little, such as ratings given in one
    sitting, ``training.order_noise``; where epochs are many, a falling rate.
    """
    return JtmConfig(
        training=TrainingConfig(
            negative_draw="popularity", tied_levels=True, learning_rate=2e-3, batch_samples=512, epochs=6, later_epochs=3
        )
    )


def demo_config() -> JtmConfig:
    """ML-100K in a few minutes, at a beam small against its 1,682 items.

    Small batches and a high rate, as there are few samples; windows over whole histories in no strict order, as the ratings of a user were
    mostly given in one sitting.
    """
    return JtmConfig(
        data=DataConfig(name="ml-100k", path="recbole:ml-100k", format="recbole"),
        split=SplitConfig(num_validation_users=94, num_test_users=94),
        model=ModelConfig(window_sizes=(150, 100, 50, 40, 20, 10, 5, 3, 1, 1)),
        training=TrainingConfig(
            batch_samples=256,
            learning_rate=5e-3,
            rate_schedule="linear",
            order_noise=1.0,
            tied_levels=True,
            nodes="beam",
            negatives=40,
            epochs=6,
            later_epochs=3,
        ),
        evaluation=EvaluationConfig(cutoffs=(10, 20, 50), beam_width=50, small_beam_width=20, filter_seen=True),
        iterations=3,
    )
