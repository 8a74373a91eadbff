"""Of 60,000 digits, those most like a picture: exact, within milliseconds, in less than 100 MB.

Likeness is the cosine of two pictures' pixels: 1 where they differ in strength at most, 0 where no
pixel has ink in both. This is a file of its own because nothing in it knows of networks or pages.
"""

import numpy as np

LIKELY = (
    256  # so many pictures are compared first; most searches compare as many again, or a thousand
)


class Digits:
    """Pictures with labels that can be searched for likeness."""

    def __init__(self, pictures, labels):
        """Take pictures, uint8 (n, 784), and labels, whole numbers (n,)."""
        self.pictures = pictures
        self.labels = labels
        parts = [_parts(pictures[at : at + 1000]) for at in range(0, len(pictures), 1000)]
        self._outlines, self._lengths = map(np.concatenate, zip(*parts, strict=True))

    def most_like(self, picture, count=6):
        """Find the `count` digits most like a picture, numbers of shape (784,) with some ink.

        Returns their places among the pictures, the most alike first, and their likeness, 0 to 1.
        """
        [outline], [length] = _parts(picture[None])
        # No digit can be more like the picture than this, so that few need to be compared in full.
        most = self._outlines @ outline
        likely = np.argpartition(-most, min(LIKELY, len(most)) - 1)[:LIKELY]
        last = np.sort(self._likeness(likely, picture / length))[-count:][0]
        possible = np.flatnonzero(most >= last - 1e-5)  # float32 rounds
        likeness = self._likeness(possible, picture / length)
        best = np.argsort(-likeness, kind="stable")[:count]
        return possible[best], likeness[best]

    def _likeness(self, places, direction):
        return self.pictures[places] @ direction.astype(np.float32) / self._lengths[places]


def _parts(pictures):
    """Return what bounds the likeness of pictures, float32 (n, 197), and their lengths, (n,).

    Of a picture of length 1, the means of every 2x2 pixels are one part, 196 numbers, and what they
    do not tell is the other, of which the length is kept. The cosine of two pictures is the product
    of the first parts, plus that of the others, which is at most the product of their lengths.
    """
    pixels = pictures.astype(np.float32)
    lengths = np.maximum(np.linalg.norm(pixels, axis=1), 1e-9)  # a blank one is like no other
    halved = pixels.reshape(-1, 14, 2, 14, 2).sum(axis=(2, 4)).reshape(-1, 196)
    halved /= 2 * lengths[:, None]
    rest = np.sqrt(np.maximum(0, 1 - np.sum(halved**2, axis=1)))
    return np.column_stack([halved, rest]), lengths
