"""One vector an item: content, categories, brand, price and a trained id, gated and summed."""

import torch
from torch import Tensor, nn

from services.networks.item_inputs import ItemInputs
from services.networks.user_config import ITEM_PARTS, PRICE_BUCKETS, UserModelConfig

GATE_INPUTS = 3
"""What the gates see of an item: whether it has content, whether it has a trained id, and how often it was trained."""


class ItemTower(nn.Module):
    """`h = Σ_m gate_m · part_m` over the parts that an item has; the representation is `h / ‖h‖`.

    `gate_m = 2 σ(c_m + u_m · g)`, g = (has content, has id, ln(1 + examples) / 5). Id embeddings begin at zero: an item
    of few examples stays near what its content says. In training, ids and whole parts are dropped at random, so that
    an item without history, or without a text, still gets a good vector.
    """

    def __init__(self, config: UserModelConfig, id_dropout: float = 0.1, part_dropout: float = 0.05) -> None:
        super().__init__()
        self.content = nn.Linear(config.content, config.width)
        self.category = nn.EmbeddingBag(config.categories + 1, config.width, mode="mean", padding_idx=0)
        self.brand = nn.Embedding(config.brands + 1, config.width, padding_idx=0)
        self.price = nn.Embedding(PRICE_BUCKETS + 1, config.width, padding_idx=0)
        self.id = nn.Embedding(config.items + 1, config.width, padding_idx=0)
        self.gate = nn.Linear(GATE_INPUTS, len(ITEM_PARTS))
        self.id_dropout, self.part_dropout = id_dropout, part_dropout
        for table in (self.category, self.brand, self.price):
            nn.init.normal_(table.weight, std=0.02)
            nn.init.zeros_(table.weight[0])
        nn.init.zeros_(self.id.weight)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, items: "TowerItems") -> Tensor:
        """(n, W) unit rows."""
        ids = items.id
        if self.training and self.id_dropout:
            ids = ids * (torch.rand(ids.shape, device=ids.device) >= self.id_dropout)
        has = torch.stack((items.has_content, (ids > 0).float()), dim=1)
        gates = 2 * torch.sigmoid(self.gate(torch.cat((has, items.seen[:, None] * has[:, 1:]), dim=1)))
        if self.training and self.part_dropout:
            kept = torch.rand(gates.shape, device=gates.device) >= self.part_dropout
            gates = gates * (kept | ~kept.any(dim=1, keepdim=True))
        gate = dict(zip(ITEM_PARTS, gates.unbind(dim=1), strict=True))
        content = nn.functional.linear(items.content, *(p.to(items.content.dtype) for p in self.content.parameters()))
        summed = content.to(gates.dtype) * (gate["content"] * items.has_content)[:, None]
        summed = torch.addcmul(summed, self.id(ids), gate["id"][:, None])
        return nn.functional.normalize(summed + self._words(items, gate), dim=1, eps=1e-6)

    def _words(self, items: "TowerItems", gate: dict[str, Tensor]) -> Tensor:
        """(n, W): categories (their mean), brand and price, gated: one look-up in the joined tables."""
        tables = self.category.weight, self.brand.weight, self.price.weight
        first_brand, first_price = len(tables[0]), len(tables[0]) + len(tables[1])
        rows = torch.cat(
            (
                items.categories,
                torch.where(items.brand > 0, items.brand + first_brand, 0)[:, None],
                torch.where(items.price > 0, items.price + first_price, 0)[:, None],
            ),
            dim=1,
        )
        several = (items.categories > 0).sum(dim=1).clamp(min=1)
        share = (gate["category"] / several)[:, None].expand(-1, items.categories.shape[1])
        weights = torch.cat((share, gate["brand"][:, None], gate["price"][:, None]), dim=1)
        return nn.functional.embedding_bag(
            rows, torch.cat(tables), mode="sum", per_sample_weights=weights, padding_idx=0
        )


class TowerItems:
    """`ItemInputs` as tensors; `take` picks rows."""

    def __init__(
        self,
        content: Tensor,
        has_content: Tensor,
        categories: Tensor,
        brand: Tensor,
        price: Tensor,
        id: Tensor,
        seen: Tensor,
    ) -> None:
        self.content, self.has_content, self.categories = content, has_content, categories
        self.brand, self.price, self.id, self.seen = brand, price, id, seen

    @classmethod
    def of(cls, items: ItemInputs, device: torch.device | str = "cpu", half: bool = False) -> "TowerItems":
        """The same items on a device; `half`: the content, and what is computed from it, in bfloat16."""

        def tensor(array: object) -> Tensor:
            return torch.as_tensor(array).to(device)

        content = tensor(items.content)
        return cls(
            content=content.to(torch.bfloat16) if half else content,
            has_content=(content != 0).any(dim=1).float(),
            categories=tensor(items.categories).long(),
            brand=tensor(items.brand).long(),
            price=tensor(items.price).long(),
            id=tensor(items.id).long(),
            seen=torch.log1p(tensor(items.count)) / 5,
        )

    def take(self, rows: Tensor) -> "TowerItems":
        """The items of these rows."""
        return TowerItems(
            self.content[rows],
            self.has_content[rows],
            self.categories[rows],
            self.brand[rows],
            self.price[rows],
            self.id[rows],
            self.seen[rows],
        )
