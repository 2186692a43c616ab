"""The boats of the demo set: how each class is drawn."""

from collections.abc import Callable, Sequence

import numpy as np

from boats_data.brush import (
    DARK,
    GLASS,
    HULLS,
    ORANGE,
    RED,
    SAND,
    STEEL,
    WHITE,
    WOODS,
    Brush,
    Colour,
    Point,
    curve,
    mix,
    pick,
    vary,
)

_SAILS = ((246, 244, 236), (238, 230, 208), (170, 72, 52), (226, 232, 238))
_SHIRTS = (
    (196, 60, 52), (60, 92, 150), (232, 226, 214), (70, 122, 84), (216, 170, 60), (60, 60, 66),
)  # fmt: skip
_SKINS = ((226, 178, 146), (190, 138, 104), (120, 82, 60))


def _paint_ferry(brush: Brush, rng: np.random.Generator) -> None:
    hull, trim, cabin = pick(rng, HULLS), pick(rng, HULLS), pick(rng, (WHITE, SAND))
    stern, bow = rng.uniform(-0.44, -0.36), rng.uniform(0.24, 0.38)
    roof = rng.uniform(0.125, 0.15)
    brush.polygon(
        [*curve((-0.5, 0.07), (-0.2, 0.055), (0.2, 0.058), (0.5, 0.09)), (0.46, -0.07),
         (-0.49, -0.07)], hull,
    )  # fmt: skip
    brush.polygon([(-0.49, 0.012), (0.475, 0.012), (0.46, -0.07), (-0.49, -0.07)], trim)
    brush.line(curve((-0.5, 0.058), (-0.2, 0.045), (0.2, 0.047), (0.49, 0.076)), 0.006, DARK)
    for x in np.arange(-0.42, 0.4, rng.uniform(0.09, 0.2)):
        brush.disc((x, 0.03), 0.013, DARK)
    _paint_people(brush, rng, (bow + 0.02, 0.46), 0.06, 0.075, 4)
    _paint_people(brush, rng, (-0.48, stern), 0.06, 0.075, 3)
    brush.box(stern, 0.05, bow, roof, cabin)
    brush.box(stern, 0.05, bow, 0.066, mix(cabin, DARK, 0.25))
    panes = rng.integers(7, 14)
    pitch = (bow - stern - 0.03) / panes
    door = rng.integers(2, panes - 2)
    glass = pick(rng, (GLASS, (36, 46, 56), (126, 152, 170)))
    for pane in range(panes):
        left = stern + 0.02 + pane * pitch
        low = 0.052 if pane == door else 0.08
        brush.box(left, low, left + pitch * 0.78, roof - 0.014, glass)
        shine = mix(glass, WHITE, rng.uniform(0.1, 0.6))
        brush.polygon(
            [(left, low), (left + pitch * 0.3, low), (left + pitch * 0.6, roof - 0.014),
             (left + pitch * 0.3, roof - 0.014)], shine, 140,
        )  # fmt: skip
    brush.box(stern - 0.02, roof, bow + 0.03, roof + 0.012, mix(trim, WHITE, rng.uniform(0, 0.8)))
    bridge = rng.uniform(stern + 0.1, bow - 0.1) if rng.random() < 0.3 else bow - 0.06
    if rng.random() < 0.85:
        top = roof + rng.uniform(0.045, 0.06)
        brush.polygon(
            [(bridge - 0.05, roof + 0.01), (bridge + 0.06, roof + 0.01), (bridge + 0.05, top),
             (bridge - 0.05, top)], cabin,
        )  # fmt: skip
        brush.box(bridge - 0.015, roof + 0.022, bridge + 0.048, top - 0.008, glass)
        brush.box(bridge - 0.06, top, bridge + 0.06, top + 0.007, trim)
        brush.line([(bridge, top), (bridge - 0.005, top + 0.06)], 0.003, DARK)
    if rng.random() < 0.4:  # an upper deck
        _paint_people(brush, rng, (stern + 0.03, bridge - 0.08), roof + 0.01, 0.06, 8)
        _paint_railing(brush, stern - 0.01, bridge - 0.06, roof + 0.012, 0.03)
    if rng.random() < 0.5:
        brush.disc((rng.uniform(stern, bow), 0.075), 0.011, ORANGE)
    _paint_railing(brush, bow + 0.02, 0.48, 0.065, 0.045)
    _paint_railing(brush, -0.49, stern, 0.065, 0.045)
    if rng.random() < 0.6:
        _paint_flag(brush, rng, (-0.49, 0.07), 0.09)


def _paint_motorboat(brush: Brush, rng: np.random.Generator) -> None:
    wooden = rng.random() < 0.35
    hull = pick(rng, WOODS if wooden else HULLS)
    inside, band = pick(rng, (SAND, WHITE, (96, 66, 48))), pick(rng, HULLS)
    nose = rng.uniform(0.12, 0.18)
    sheer = ((-0.5, 0.09), (-0.2, 0.095), (0.15, nose * 0.85), (0.5, nose))
    well = [(-0.48, 0.08), (-0.46, 0.115), (0.05, 0.135), (0.2, 0.1)]
    brush.polygon(well, mix(inside, DARK, 0.4))
    if rng.random() < 0.55:  # an outboard engine
        brush.polygon(
            [(-0.56, 0.09), (-0.5, 0.08), (-0.49, 0.145), (-0.52, 0.165), (-0.555, 0.155)],
            pick(rng, (DARK, STEEL, (60, 66, 74))),
        )
        brush.box(-0.55, -0.04, -0.52, 0.1, DARK)
    shield = rng.uniform(-0.08, 0.1)
    style = rng.random()
    if style >= 0.35:
        tall = rng.uniform(0.13, 0.18)
        _paint_people(brush, rng, (shield - 0.28, shield - 0.06), 0.09, tall, 3, 1)
    brush.polygon(
        [(shield - 0.04, 0.1), *curve((shield, nose), (0.25, nose * 1.12), (0.48, nose)),
         (0.2, 0.09)], mix(hull, SAND, 0.55),
    )  # fmt: skip
    brush.polygon([*curve(*sheer), (0.36, -0.07), (-0.48, -0.07)], hull)
    bottom = [(-0.5, 0.035), (0.43, 0.05), (0.36, -0.07), (-0.48, -0.07)]
    brush.polygon(bottom, mix(hull, DARK, 0.22))
    level = rng.uniform(0.04, 0.07)
    stripe = [(-0.5, level), (0.1, level + 0.01), (0.45, nose * 0.72)]
    brush.line(curve(*stripe), rng.uniform(0.006, 0.016), band)
    brush.line(curve(*sheer), 0.008, STEEL if wooden else mix(hull, WHITE, 0.5))
    top = nose + rng.uniform(0.07, 0.1)
    pane = [(shield + 0.07, nose * 0.95), (shield, top), (shield - 0.05, top), (shield - 0.03, 0.1)]
    if style < 0.35:  # a cabin behind the windscreen
        back = shield - rng.uniform(0.2, 0.34)
        brush.polygon(
            [(back, 0.092), (back + 0.01, top), (shield, top), (shield + 0.08, nose * 0.9)],
            mix(hull, SAND, 0.7),
        )
        for left in np.linspace(back + 0.025, shield - 0.08, rng.integers(2, 4)):
            brush.box(left, 0.12, left + 0.065, top - 0.018, GLASS)
        brush.box(back - 0.015, top - 0.004, shield + 0.01, top + 0.009, mix(hull, WHITE, 0.3))
        pane[2:] = [(shield - 0.01, top - 0.01), (shield + 0.02, nose)]
    elif style < 0.55:  # a sun roof
        high = top + 0.09
        brush.line([(shield - 0.02, 0.13), (shield - 0.05, high)], 0.006, STEEL)
        brush.line([(shield - 0.27, 0.1), (shield - 0.25, high)], 0.006, STEEL)
        brush.polygon(
            curve((shield - 0.3, high), (shield - 0.16, high + 0.03), (shield, high)), band
        )
    brush.polygon(pane, (150, 184, 200), 170)
    brush.line(pane[:3], 0.006, STEEL)
    if rng.random() < 0.35:
        _paint_railing(brush, 0.22, 0.47, nose, 0.04)


def _paint_sailboat(brush: Brush, rng: np.random.Generator) -> None:
    hull, band = pick(rng, (*HULLS, WHITE, WHITE)), pick(rng, HULLS)
    mast, height = rng.uniform(0.02, 0.14), rng.uniform(0.5, 0.8)
    sail, jib = pick(rng, _SAILS), pick(rng, _SAILS)
    boom, end = 0.17, rng.uniform(-0.44, -0.34)
    furled = rng.random() < 0.2
    for foot in ((0.49, 0.12), (-0.49, 0.1)):  # stays
        brush.line([foot, (mast, height)], 0.002, (110, 110, 112))
    if not furled and rng.random() < 0.8:
        tack = (rng.uniform(0.4, 0.48), 0.14)
        clew = (mast - rng.uniform(-0.06, 0.14), 0.17)
        head = (mast + 0.01, height * rng.uniform(0.7, 0.92))
        leech = curve(head, ((head[0] + clew[0]) / 2 + 0.045, 0.45 * height), clew)
        brush.polygon([tack, *leech], jib)
        brush.polygon([clew, leech[4], ((tack[0] + head[0]) / 2, (0.14 + head[1]) / 2)],
                      mix(jib, DARK, 0.12), 120)  # fmt: skip
    _paint_people(brush, rng, (-0.42, -0.22), 0.085, 0.17, 3)
    brush.polygon([(-0.2, 0.08), (-0.17, 0.125), (0.16, 0.135), (0.26, 0.09)], mix(hull, SAND, 0.7))
    for x in np.linspace(-0.12, 0.12, rng.integers(2, 5)):
        brush.disc((x, 0.112), 0.016, GLASS, 0.6)
    sheer = ((-0.5, 0.1), (-0.1, 0.075), (0.25, 0.09), (0.5, 0.13))
    brush.polygon([*curve(*sheer), *curve((0.46, 0.06), (0.38, -0.08)), (-0.44, -0.08)], hull)
    brush.polygon([(-0.47, 0.014), (0.43, 0.02), (0.38, -0.08), (-0.44, -0.08)], band)
    brush.line(curve(*sheer), 0.008, mix(band, WHITE, 0.3))
    if furled:
        brush.polygon(curve((mast, 0.19), (-0.15, 0.205), (end, 0.18), (mast, 0.165)), band)
    else:
        peak = (mast - 0.008, height * 0.97)
        leech = curve(peak, ((mast + end) / 2 - 0.05, 0.5 * height), (end, boom + 0.01))
        brush.polygon([(mast, boom), *leech], sail)
        fold = [(mast, boom), peak, (mast - 0.09, height * 0.45), (mast - 0.06, boom)]
        brush.polygon(fold, mix(sail, (90, 96, 120), 0.2))
        for share in (0.3, 0.5, 0.7):  # battens
            point = leech[round(share * (len(leech) - 1))]
            brush.line([point, (mast, point[1] + 0.03)], 0.002, mix(sail, DARK, 0.3))
    brush.line([(mast, boom), (end, boom)], 0.009, STEEL)
    brush.line([(mast, 0.1), (mast, height)], 0.01, STEEL)
    if rng.random() < 0.5:
        _paint_railing(brush, 0.3, 0.49, 0.11, 0.05)
    if rng.random() < 0.4:
        _paint_flag(brush, rng, (-0.48, 0.1), 0.11)


def _paint_gondola(brush: Brush, rng: np.random.Generator) -> None:
    hull = mix(vary(rng, DARK), DARK, 0.6)
    tail, nose = rng.uniform(0.13, 0.2), rng.uniform(0.14, 0.19)
    sheer = curve(
        (-0.5, tail), (-0.4, 0.085), (-0.2, 0.05), (0.1, 0.045), (0.3, 0.07), (0.42, 0.115),
        (0.47, nose),
    )  # fmt: skip
    keel = curve(
        (0.465, nose - 0.035), (0.4, 0.06), (0.3, 0.012), (0.15, -0.03), (-0.15, -0.03),
        (-0.3, 0.008), (-0.4, 0.045), (-0.49, tail - 0.02),
    )  # fmt: skip
    seats = pick(rng, ((150, 30, 36), (40, 60, 120), (170, 130, 50)))
    _paint_people(brush, rng, (-0.16, 0.1), 0.045, rng.uniform(0.075, 0.09), 5)
    brush.polygon(curve((-0.2, 0.04), (-0.18, 0.1), (-0.13, 0.085), (0.12, 0.04)), seats)
    brush.polygon([*sheer, *keel], hull)
    brush.line(sheer, 0.004, mix(hull, WHITE, 0.35))
    brush.line(keel, 0.003, mix(hull, STEEL, 0.3))
    if rng.random() < 0.7:
        brush.disc((0.2, 0.065), 0.012, (206, 168, 70), 1.5)
    iron = mix(STEEL, WHITE, rng.uniform(0, 0.5))  # the bow's iron comb
    brush.polygon(
        [(0.462, nose - 0.05), (0.475, nose - 0.05), (0.49, nose + 0.02), (0.515, nose + 0.045),
         (0.5, nose + 0.06), (0.47, nose + 0.04)], iron,
    )  # fmt: skip
    for tooth in range(5):
        y = nose - 0.04 + tooth * 0.013
        brush.line([(0.47, y), (0.495, y + 0.002)], 0.005, iron)
    at, lean = rng.uniform(-0.36, -0.3), rng.uniform(-0.01, 0.04)
    _paint_oarsman(brush, rng, at, lean)


def _paint_oarsman(brush: Brush, rng: np.random.Generator, x: float, lean: float) -> None:
    skin, stripe = pick(rng, _SKINS), pick(rng, ((176, 36, 40), (34, 52, 110)))
    legs = vary(rng, DARK)
    brush.line([(x - 0.012, 0.07), (x, 0.135)], 0.012, legs)
    brush.line([(x + 0.02, 0.065), (x + 0.004, 0.135)], 0.012, legs)
    chest = (x + lean, 0.19)
    brush.polygon(
        [(x - 0.013, 0.13), (x + 0.014, 0.13), (chest[0] + 0.017, 0.192),
         (chest[0] - 0.014, 0.192)], WHITE,
    )  # fmt: skip
    for y in np.arange(0.136, 0.19, 0.013):
        middle = x + lean * (y - 0.13) / 0.06
        brush.line([(middle - 0.013, y), (middle + 0.014, y)], 0.005, stripe)
    hands = (chest[0] + rng.uniform(0.025, 0.05), rng.uniform(0.15, 0.18))
    fork = (x + 0.075, 0.105)
    blade = (fork[0] + rng.uniform(-0.28, 0.12), -0.02)
    brush.line([fork, (x + 0.07, 0.06)], 0.009, (96, 62, 40))
    brush.line([hands, fork, blade], 0.006, pick(rng, WOODS))
    brush.line([chest, hands], 0.009, skin)
    head = (chest[0] + 0.004, 0.208)
    brush.disc(head, 0.0115, skin)
    if rng.random() < 0.65:  # a straw hat
        brush.disc((head[0], 0.214), 0.021, (222, 196, 130), 0.22)
        brush.box(head[0] - 0.011, 0.214, head[0] + 0.011, 0.225, (222, 196, 130))
        brush.line([(head[0] - 0.011, 0.216), (head[0] + 0.011, 0.216)], 0.004, stripe)
    else:
        brush.disc((head[0] - 0.002, 0.214), 0.01, (50, 36, 28), 0.7)


def _paint_rowboat(brush: Brush, rng: np.random.Generator) -> None:
    wooden = rng.random() < 0.5
    hull = pick(rng, WOODS if wooden else HULLS)
    tail, nose, low = rng.uniform(0.1, 0.14), rng.uniform(0.13, 0.19), rng.uniform(0.065, 0.085)
    near = curve((-0.48, tail), (-0.25, low + 0.01), (0.1, low), (0.32, low + 0.03), (0.5, nose))
    far = curve((0.5, nose), (0.25, low + 0.055), (-0.2, low + 0.04), (-0.46, tail + 0.025))
    seat, lean = rng.uniform(-0.02, 0.08), rng.uniform(-0.07, 0.05)
    hands = (seat - 0.1 + lean, low + rng.uniform(0.09, 0.12))
    # The blades swing together: in the water, or high over it on their way back.
    reach, lift = seat + rng.uniform(-0.42, 0.42), rng.choice((0.0, rng.uniform(0.04, 0.12)))
    oar = pick(rng, (*WOODS, WHITE))
    crewed = rng.random() < 0.85
    if crewed:
        far_tip = (reach * 1.15 + 0.03, low + 0.04 + lift)
        _paint_oar(brush, [hands, (seat, low + 0.055), far_tip], mix(oar, DARK, 0.2))
    brush.polygon([*near, *far], mix(hull, DARK, 0.45))
    brush.line(far, 0.01, mix(hull, WHITE, 0.2))
    for x in (-0.28, seat, 0.28):
        brush.box(x - 0.03, low + 0.005, x + 0.03, low + 0.03, mix(hull, SAND, 0.6))
    if rng.random() < 0.4:
        _paint_people(brush, rng, (-0.34, -0.26), low, 0.22, 1, 1)
    if crewed:
        _paint_rower(brush, rng, (seat, low), lean, hands)
    keel = curve((0.47, 0.06), (0.38, -0.01), (0.25, -0.08), (-0.35, -0.08), (-0.44, -0.01))
    brush.polygon([*near, *keel], hull)
    for share in (0.35, 0.7):
        plank = [(x * (1 - 0.1 * share), y * (1 - share)) for x, y in near]
        brush.line(plank, 0.004, mix(hull, DARK, 0.25))
    brush.line(near, 0.014, mix(hull, WHITE, 0.3) if wooden else pick(rng, HULLS))
    if crewed:
        _paint_oar(brush, [hands, (seat, low + 0.012), (reach, lift - 0.02)], oar)
    else:  # moored, the oars laid in
        brush.line([(-0.3, low + 0.03), (0.32, low + 0.06)], 0.012, oar)
        brush.line([(-0.22, low + 0.045), (0.36, low + 0.05)], 0.012, oar)


def _paint_oar(brush: Brush, path: Sequence[Point], wood: Colour) -> None:
    """Draws an oar from the hands over the gunwale to the tip of its blade."""
    (x, y), (tip_x, tip_y) = path[-2:]
    brush.line(path, 0.012, wood)
    brush.line([(tip_x + (x - tip_x) * 0.35, tip_y + (y - tip_y) * 0.35), path[-1]], 0.026, wood)


def _paint_rower(
    brush: Brush, rng: np.random.Generator, seat: Point, lean: float, hands: Point
) -> None:
    (x, y), shirt, skin = seat, pick(rng, _SHIRTS), pick(rng, _SKINS)
    neck = (x + lean, y + 0.165)
    brush.line([(x, y + 0.03), (x - 0.1, y + 0.06), (x - 0.14, y)], 0.035, (60, 66, 90))
    brush.polygon(
        [(x - 0.04, y + 0.01), (x + 0.04, y + 0.01), (neck[0] + 0.035, neck[1]),
         (neck[0] - 0.03, neck[1])], shirt,
    )  # fmt: skip
    brush.line([(neck[0], neck[1] - 0.025), (neck[0] - 0.045, y + 0.1), hands], 0.022, skin)
    brush.line([(neck[0], neck[1] - 0.02), (neck[0] - 0.03, y + 0.115)], 0.026, shirt)
    brush.disc((neck[0] - 0.004, neck[1] + 0.035), 0.032, skin)
    hair = pick(rng, ((50, 36, 28), (160, 120, 70), (214, 200, 170), (180, 50, 44)))
    brush.disc((neck[0] + 0.006, neck[1] + 0.05), 0.029, hair, 0.75)


def _paint_people(
    brush: Brush, rng: np.random.Generator, span: Point, low: float, height: float,
    most: int, least: int = 0,
) -> None:  # fmt: skip
    for _ in range(rng.integers(least, most + 1)):
        x, tall = rng.uniform(*span), height * rng.uniform(0.85, 1.05)
        wide, shoulder = tall * 0.15, low + tall * 0.68
        shirt = pick(rng, _SHIRTS)
        brush.polygon(
            [(x - wide, low), (x + wide, low), (x + wide * 1.1, shoulder - wide * 0.4),
             (x + wide * 0.6, shoulder), (x - wide * 0.6, shoulder),
             (x - wide * 1.1, shoulder - wide * 0.4)], shirt,
        )  # fmt: skip
        brush.disc((x, low + tall * 0.83), tall * 0.14, pick(rng, _SKINS))
        brush.disc((x - 0.02 * tall, low + tall * 0.9), tall * 0.125, vary(rng, (60, 44, 34)), 0.7)


def _paint_railing(brush: Brush, left: float, right: float, low: float, height: float) -> None:
    for x in np.linspace(left, right, max(2, round((right - left) / 0.035))):
        brush.line([(x, low), (x, low + height)], 0.0025, STEEL)
    for level in (height * 0.5, height):
        brush.line([(left, low + level), (right, low + level)], 0.003, STEEL)


def _paint_flag(brush: Brush, rng: np.random.Generator, at: Point, height: float) -> None:
    x, top = at[0] - 0.02, at[1] + height
    brush.line([at, (x, top)], 0.004, STEEL)
    drop = rng.uniform(0.0, 0.04)
    brush.polygon(
        [(x, top), (x - 0.06, top - drop), (x - 0.06, top - drop - 0.03), (x, top - 0.035)],
        pick(rng, (RED, (40, 90, 60), HULLS[2])),
    )


BOATS: dict[str, tuple[float, float, Callable[[Brush, np.random.Generator], None]]] = {
    "ferry": (0.55, 0.9, _paint_ferry),
    "motorboat": (0.34, 0.78, _paint_motorboat),
    "sailboat": (0.3, 0.58, _paint_sailboat),
    "gondola": (0.5, 0.9, _paint_gondola),
    "rowboat": (0.3, 0.62, _paint_rowboat),
}
"""For each class the smallest and largest share of the width that it fills, and how it is drawn."""

LABELS = ("water", *BOATS)
"""The classes that can be drawn."""
