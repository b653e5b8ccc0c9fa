"""Item tower and sequence encoder together: users' query vectors and items' vectors of one space."""

from torch import Tensor, nn

from services.networks.item_tower import ItemTower, TowerItems
from services.networks.sequence_encoder import SequenceEncoder
from services.networks.user_config import UserModelConfig


class UserModel(nn.Module):
    """Score of an item for a user: the cosine of both vectors, divided by the temperature for a softmax."""

    def __init__(
        self, config: UserModelConfig, dropout: float = 0.5, id_dropout: float = 0.1, part_dropout: float = 0.05
    ) -> None:
        super().__init__()
        self.config = config
        self.tower = ItemTower(config, id_dropout, part_dropout)
        self.encoder = SequenceEncoder(config, dropout)

    def items(self, items: TowerItems) -> Tensor:
        """(n, W) unit rows."""
        return self.tower(items)

    def queries(self, items: Tensor, types: Tensor, times: Tensor, known: Tensor) -> Tensor:
        """(B, L, W) unit rows: see `SequenceEncoder.forward`."""
        return self.encoder(items, types, times, known)
