"""Options of the heads."""

from dataclasses import dataclass, field


@dataclass
class InputOptions:
    """How the rows that a head sees are made; both heads share it.

    Attributes:
        history_steps: Continuous futures: so many last steps of the observed past are columns of their own.
        clip: Standardised features beyond this many standard deviations are cut to it.
        max_rank: Coordinates kept of the training rows' singular value decomposition.
        max_gram: Largest Gram matrix that is factorised; the published 8,546 columns fit. Where both rows and columns are
            more, the rotation comes from so many evenly spaced training rows.
        key_dims: Retrieval: dimensions of the space in which query and key meet.
        inner_folds: Inner folds of the logistic heads, and blocks of a training set that is one single episode.
    """

    history_steps: int = 8
    clip: float = 10.0
    max_rank: int = 1024
    max_gram: int = 8704
    key_dims: int = 256
    inner_folds: int = 5


@dataclass
class RidgeOptions(InputOptions):
    """Options of `ridge`.

    Attributes:
        penalty: A fixed ridge penalty (on standardised columns and targets); null chooses it on train.
        logistic_penalty: A fixed penalty of the logistic heads (half its product with the squared weights is added to the mean
            loss); null chooses it on train.
        logistic_steps: Train the logistic heads with exactly so many full-batch gradient steps on standardised columns (as
            published; needs `logistic_penalty`); null = to convergence.
        logistic_rate: Learning rate of these steps.
        selection_rows: At most so many evenly spaced training rows take part in choosing a logistic penalty.
        cross_prediction: Pair tasks: add how well one view predicts the other.
    """

    penalty: float | None = None
    logistic_penalty: float | None = None
    logistic_steps: int | None = None
    logistic_rate: float = 0.12
    selection_rows: int = 10_000
    cross_prediction: bool = True


@dataclass
class MLPOptions(InputOptions):
    """Options of `mlp`.

    Attributes:
        hidden: Units of both hidden layers.
        dropout: Share of hidden units that rest in a step.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        batch_size: Rows per step.
        epochs: At most so many passes over train.
        patience: Stop after so many epochs without a better validation loss; the best epoch is kept.
        fixed_epochs: Train exactly so many epochs and look at no validation episode; null = early stopping.
        workers: Training processes. 1 runs in this process; more share every step's rows through Ray Train.
    """

    hidden: int = 128
    dropout: float = 0.10
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int = 128
    epochs: int = 80
    patience: int = 10
    fixed_epochs: int | None = None
    workers: int = 1


@dataclass
class SmallMLPOptions(InputOptions):
    """Options of `mlp_small`, and of `mlp_medium` with other layers.

    Attributes:
        hidden: Units of each hidden layer.
        learning_rate: Of AdamW at the first step; it falls linearly to 0.
        weight_decay: Of AdamW.
        batch_size: Rows per step.
        epochs: At most so many passes over train.
        steps: At most so many steps, whatever the size of the table.
        evaluate_every: Steps between two looks at validation rows, or at left-out rows of train where there are none.
        inner_folds: Folds of train groups that choose the number of steps where no group validates.
    """

    hidden: list[int] = field(default_factory=lambda: [16, 8])
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    batch_size: int = 64
    epochs: int = 200
    steps: int = 5000
    evaluate_every: int = 50
    inner_folds: int = 3


@dataclass
class MediumMLPOptions(SmallMLPOptions):
    """Options of `mlp_medium`."""

    hidden: list[int] = field(default_factory=lambda: [64, 32])
