"""Which of a mesh's points show lips, eyes, irises, brows and the outline, in MediaPipe's order."""

OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIPS = OUTER_LIPS + INNER_LIPS
INNER_CORNERS = (78, 308)
UPPER_LIP = (
    *((13, 12, 11, 0), (82, 38, 72, 37), (81, 41, 73, 39), (80, 42, 74, 40), (191, 183, 184, 185)),
    *((312, 268, 302, 267), (311, 271, 303, 269), (310, 272, 304, 270), (415, 407, 408, 409)),
)
LOWER_LIP = (
    *((14, 15, 16, 17), (87, 86, 85, 84), (178, 179, 180, 181), (88, 89, 90, 91), (95, 96, 77, 146)),
    *((317, 316, 315, 314), (402, 403, 404, 405), (318, 319, 320, 321), (324, 325, 307, 375)),
)
"""Columns of the lips, each from the inner edge outwards; one below the other."""

RIGHT_LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_LIDS = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
IRISES = tuple(range(468, 478))
EYES = RIGHT_LIDS + LEFT_LIDS + IRISES
"""Right and left are the subject's."""

RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
BROWS = RIGHT_BROW + LEFT_BROW

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""The face's outline, in order around it; the lips' and lids' points stand in order around them, too."""
