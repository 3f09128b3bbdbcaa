"""Several people in one video: which of them is followed, through crossings, absences and cuts.

Everybody is known by place and by looks: the colours of head and collar, which tell two people of one video apart
without a network and hold while a head turns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from vaegan.errors import UserError
from vaegan.faces.backend import Face
from vaegan.faces.choice import count_words
from vaegan.faces.geometry import CropTransform, face_region
from vaegan.faces.tracker import REMEMBERED_FRAMES, RETRIED_FRAMES, SAME_PLACE, TILED_EVERY, OneEuro
from vaegan.media.cuts import Cuts

LOOK_EVERY = 12
"""Frames after which all faces of the picture are looked for again, who follows one of them sees no others."""

WIDE = 1.8
"""Side of what is looked at / side of the mesh box: hair and collar tell people apart better than skin."""

COLOURS, LIGHT = 0.4, 7.5
"""Hellinger distance of colours, and mean difference of 12 x 12 px in Lab, that make a distance of 1 together: from
frame to frame of 16 clips 99 % stay below .8, between their people 99 % are above 1.1."""

UNLIKE, DOUBTFUL = 1.0, 1.3
"""Looks that differ by more are of two people; so much is allowed to somebody who was near a moment ago."""

BESIDE, NEAR = 1.5, 3.0
"""In face sizes: closer people may cover each other; closer ones are followed."""

REACH = 1.5
"""In face sizes: no further from where it was does a face turn up again that was lost a moment ago."""

LEARN = 0.1
"""Share of a new frame in the memory of somebody's looks."""

MOST = 8
"""People that are remembered."""


class Tracker(Protocol):
    """What of a `FaceTracker` is needed."""

    smoothing: bool

    def detect(self, image: np.ndarray, besides: Sequence[Face] = (), tiled: bool = True) -> list[Face]: ...

    def follow(self, image: np.ndarray, region: CropTransform) -> Face | None: ...


@dataclass(frozen=True)
class Looks:
    """colours: square roots of shares (384,); light: Lab (12, 12, 3)."""

    colours: np.ndarray = field(repr=False)
    light: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, image: np.ndarray, face: Face) -> Looks:
        lab = cv2.cvtColor(face_region(face.mesh).scaled(WIDE).crop(image, 36), cv2.COLOR_RGB2LAB)
        counts = cv2.calcHist([lab], [0, 1, 2], None, [6, 8, 8], [0, 256, 96, 192, 96, 192]).ravel()
        light = cv2.resize(lab, (12, 12), interpolation=cv2.INTER_AREA).astype(np.float32) * (100 / 255, 1, 1)
        return cls(np.sqrt(counts / max(1.0, counts.sum())), light.astype(np.float32))

    def distance(self, other: Looks) -> float:
        """0 for the same, above `UNLIKE` for another person."""
        colours = math.sqrt(max(0.0, 1 - float(self.colours @ other.colours)))
        light = float(np.abs(self.light - other.light).mean())
        return (colours / COLOURS + light / LIGHT) / 2

    def towards(self, other: Looks, share: float) -> Looks:
        colours = np.sqrt((1 - share) * self.colours**2 + share * other.colours**2)
        return Looks(colours, (1 - share) * self.light + share * other.light)


@dataclass(eq=False)
class Person:
    """region: where the face was seen last; looks: remembered, and of the last frame; missed: frames since then."""

    region: CropTransform
    looks: Looks
    last: Looks
    missed: int = 0

    def away(self, face: Face) -> float:
        """How far a face is from where this one was, in its sizes."""
        region = face_region(face.mesh)
        return math.hypot(region.cx - self.region.cx, region.cy - self.region.cy) / self.region.side


class People:
    """Follows one person of a video.

    Args:
        index: which of the faces in the first frame with any, from 1, largest first; None: the largest.
        looks: follow whoever looks like this instead.

    Attributes:
        faces: how many faces the first frame with any shows.
        shot: counts up from 0 whenever somebody or something else is shown: at a cut, and where another face takes the
            place of the one that was followed.
    """

    def __init__(self, tracker: Tracker, index: int | None = None, looks: Looks | None = None) -> None:
        self.tracker, self.index, self.wanted = tracker, index, looks
        self.faces = self.shot = 0
        self._cuts = Cuts()
        self._me: Person | None = None
        self._others: list[Person] = []
        self._frame = 0
        self._filter: OneEuro | None = None

    def track(self, image: np.ndarray) -> Face | None:
        """The face of the person who is followed in the next frame, uint8 (H, W, 3); None where it is not seen.

        Raises UserError when the first frame with faces shows fewer than `index`.
        """
        self._frame += 1
        cut = self._cuts.at(image)
        if self._me is None:
            face = self._begin(image)
        elif cut:
            face = self._after_cut(image)
        else:
            face = self._follow(image)
        if face is None:
            self._filter = None
            return None
        if not self.tracker.smoothing:
            return face
        self._filter = self._filter or OneEuro()
        return Face(self._filter(face.mesh, face_region(face.mesh).side), face.blendshapes, face.score)

    def _begin(self, image: np.ndarray) -> Face | None:
        faces = self.tracker.detect(image, tiled=self._frame % TILED_EVERY == 1)
        if not faces:
            return None
        looks = [Looks.of(image, face) for face in faces]
        chosen = 0
        if self.wanted is not None and (self.faces or len(faces) > 1):
            far = [self.wanted.distance(one) for one in looks]
            chosen = int(np.argmin(far))
            if far[chosen] > UNLIKE:
                self.faces = self.faces or len(faces)
                return None
        elif self.index is not None:
            if self.index > len(faces):
                raise UserError(
                    f"the driver's first frame with a face shows {count_words(len(faces))}: there is no driver face "
                    f"{self.index}; --start begins where it is there"
                )
            chosen = self.index - 1
        self.faces = self.faces or len(faces)
        people = [Person(face_region(face.mesh), one, one) for face, one in zip(faces, looks, strict=True)]
        self._me = people.pop(chosen)
        self._others = people[:MOST]
        return faces[chosen]

    def _after_cut(self, image: np.ndarray) -> Face | None:
        """Whoever of the new shot looks like the one followed so far, else the largest face."""
        faces = self.tracker.detect(image)
        self._others, self._filter = [], None
        self.shot += 1
        if not faces:
            self._me.missed = REMEMBERED_FRAMES + 1
            return None
        looks = [Looks.of(image, face) for face in faces]
        far = [self._me.looks.distance(one) for one in looks]
        chosen = int(np.argmin(far)) if min(far) < UNLIKE else 0
        people = [Person(face_region(face.mesh), one, one) for face, one in zip(faces, looks, strict=True)]
        self._me = people.pop(chosen)
        self._others = people[:MOST]
        return faces[chosen]

    def _follow(self, image: np.ndarray) -> Face | None:
        me = self._me
        near = [one for one in self._others if one.region.near(me.region, NEAR)]
        seen: dict[Person, Face] = {}
        for one in (me, *near):
            if one.missed <= RETRIED_FRAMES:
                face = self.tracker.follow(image, one.region)
                if face is not None:
                    seen[one] = face
        looks = {one: Looks.of(image, face) for one, face in seen.items()}
        self._part(seen, looks)
        if me not in seen:
            self._filter = None
        if me not in seen or self._frame % LOOK_EVERY == 0:
            self._look_around(image, seen, looks)
        self._remember(seen, looks)
        return seen.get(me)

    def _part(self, seen: dict[Person, Face], looks: dict[Person, Looks]) -> None:
        """Who covers whom: of people who are seen in the same place only the one who looks like it is there."""
        me = self._me
        for other in [one for one in seen if one is not me]:
            if me not in seen or other not in seen:
                return
            if face_region(seen[me].mesh).near(face_region(seen[other].mesh), SAME_PLACE):
                mine = me.looks.distance(looks[me]) <= other.looks.distance(looks[other])
                del seen[other if mine else me]
        if me in seen:
            rivals = [one for one in self._others if one not in seen and one.region.near(me.region, BESIDE)]
            own = me.looks.distance(looks[me])
            if own > UNLIKE / 2 and any(one.looks.distance(looks[me]) < own for one in rivals):
                del seen[me]

    def _look_around(self, image: np.ndarray, seen: dict[Person, Face], looks: dict[Person, Looks]) -> None:
        """Find who is not seen among all faces of the picture, and who is new."""
        me = self._me
        found = self.tracker.detect(image, list(seen.values()), me.missed % TILED_EVERY == 0)
        theirs = [Looks.of(image, face) for face in found]
        missing = [one for one in (me, *self._others) if one not in seen]
        pairs = sorted(
            (one.looks.distance(theirs[k]) + 0.2 * one.away(face), n, k)
            for n, one in enumerate(missing)
            for k, face in enumerate(found)
        )
        free = set(range(len(found)))
        for _, n, k in pairs:
            one = missing[n]
            if one not in seen and k in free and self._is(one, found[k], theirs[k]):
                seen[one], looks[one] = found[k], theirs[k]
                free.discard(k)
        strangers = sorted(free, key=lambda k: -face_region(found[k].mesh).side)
        if me in seen:  # while somebody is missing, whoever turns up may still be him
            self._others += [Person(face_region(found[k].mesh), theirs[k], theirs[k]) for k in strangers]
            self._others = sorted(self._others, key=lambda one: one.missed)[:MOST]
        elif me.missed > REMEMBERED_FRAMES and strangers:
            seen[me], looks[me] = found[strangers[0]], theirs[strangers[0]]
            self._begin_shot(looks[me])

    def _is(self, one: Person, face: Face, looks: Looks) -> bool:
        """Whether a face that turns up is of somebody who is missing."""
        far = one.looks.distance(looks)
        if one.away(face) > REACH + 0.1 * one.missed:
            return far < UNLIKE and one.missed > REMEMBERED_FRAMES
        return far < DOUBTFUL or (not self._others and one.missed <= REMEMBERED_FRAMES)

    def _begin_shot(self, looks: Looks) -> None:
        self.shot += 1
        self._me.looks, self._filter = looks, None

    def _remember(self, seen: dict[Person, Face], looks: dict[Person, Looks]) -> None:
        for one in (self._me, *self._others):
            if one not in seen:
                one.missed += 1
                continue
            if one is self._me and one.missed == 0 and one.last.distance(looks[one]) > UNLIKE:
                self._begin_shot(looks[one])
            one.region, one.last, one.missed = face_region(seen[one].mesh), looks[one], 0
            crowd = (other for other in (self._me, *self._others) if other is not one)
            if not any(other.region.near(one.region, BESIDE) for other in crowd):
                one.looks = one.looks.towards(looks[one], LEARN)
