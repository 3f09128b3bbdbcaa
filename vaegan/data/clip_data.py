"""The data module of trainings that learn from movement: `FaceData`'s settings, whole clips or pairs in its batches."""

from vaegan.data.balance import clip_weights
from vaegan.data.clip_batches import ClipBatches, Pairs, Windows
from vaegan.data.datamodule import FaceData
from vaegan.errors import UserError


class ClipData(FaceData):
    """`data=clips` as float (N, T, C, S, S), `data=pairs` as (N, 2, C, S, S), in [0, 1]; see `ClipBatches`.

    Takes the settings of `FaceData`: kind "clips" or "pairs", `clips` and `take` given.
    """

    def setup(self, stage: str | None = None) -> None:
        if self.train is not None:
            return
        if self.kind not in ("clips", "pairs") or self.clips is None or self.take is None:
            raise UserError(f"this training needs movement, not data.kind={self.kind}: use data=clips or data=pairs")
        take = self.take
        choose = Windows(take.frames) if self.kind == "clips" else Pairs(take.shortest, take.longest)
        train, val = self._clips("train"), self._clips("val")
        self.train = ClipBatches(
            train,
            self.batch,
            choose,
            shuffle=True,
            flip=self.flip,
            seed=self.seed,
            limit=self.limit,
            augment=self.augment,
            flow=take.flow,
            weights=clip_weights(train, self.balance, self.expression),
        )
        if not len(self.train):
            raise UserError(
                f"{self.clips.name} has {self.train.size} training clips, fewer than a batch of {self.batch}"
            )
        self.val = ClipBatches(val, self.batch, choose, shuffle=False, flip=False, limit=self.limit, flow=take.flow)
        self.source = self.clips.name
