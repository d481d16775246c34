"""A person, a camera and lights -> a picture.

Steps: 1 rays meet surfaces; 2 normals and materials; 3 paint; 4 shadow and occlusion; 5 light;
6 backdrop, glasses; 7 film.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsafe_generators.portrait import paint
from avsafe_generators.portrait.backdrop import backdrop
from avsafe_generators.portrait.extras import draw_glasses
from avsafe_generators.portrait.person import Person
from avsafe_generators.portrait.solids import step
from avsafe_generators.portrait.trace import Camera, World, along, march

Array = NDArray[Any]  # float32
Pixels = NDArray[np.uint8]
Lamp = tuple[tuple[float, float, float], float, tuple[float, float, float], float, float, float]
_INNER = 768  # pixels of the shorter side at which a picture is computed, at most 2 x its own

# key colour, key strength, fill colour, fill strength, rim strength, how high the key is
LIGHTS: dict[str, Lamp] = {
    "soft": ((1.0, 0.965, 0.92), 1.75, (0.86, 0.93, 1.0), 0.62, 0.55, 0.75),
    "warm": ((1.0, 0.83, 0.62), 1.85, (1.0, 0.80, 0.66), 0.48, 0.6, 0.6),
    "cool": ((0.84, 0.93, 1.0), 1.7, (0.70, 0.83, 1.0), 0.6, 0.6, 0.75),
    "dramatic": ((1.0, 0.94, 0.86), 2.0, (0.70, 0.80, 1.0), 0.17, 1.1, 0.65),
    "golden": ((1.0, 0.74, 0.44), 1.9, (0.75, 0.72, 0.85), 0.42, 1.5, 0.35),
    "neon": ((1.0, 0.45, 0.75), 1.35, (0.30, 0.62, 1.0), 0.70, 1.3, 0.4),
    "bright": ((1.0, 0.98, 0.96), 1.9, (0.95, 0.97, 1.0), 0.95, 0.4, 0.85),
}  # fmt: skip


def linear(color: Any) -> Array:
    """sRGB -> light, close enough."""
    out: Array = np.clip(np.asarray(color, np.float32), 0, 1) ** np.float32(2.2)
    return out


def _unit(vector: Any) -> Array:
    v = np.asarray(vector, np.float32)
    out: Array = v / np.linalg.norm(v)
    return out


def picture(
    person: Person, width: int, height: int, poll: Callable[[float], None] = lambda _: None
) -> Pixels:
    """(height, width, 3) uint8 RGB. ``poll`` is called with the share of work that is done."""
    import cv2

    inner = min(2.0, max(1.0, _INNER / min(width, height)))
    wide, tall = round(width * inner / 2) * 2, round(height * inner / 2) * 2
    camera = Camera(wide, tall)
    image = _draw(person, camera, poll)
    image = np.clip(image, 0, None)
    if (wide, tall) != (width, height):
        image = np.asarray(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32
        )
    knee = 0.72  # highlights roll off above it
    over = np.clip(image - knee, 0, None)
    image = np.minimum(image, knee) + (1 - knee) * (1 - np.exp(-over / (1 - knee)))
    shown = image ** np.float32(1 / 2.2)
    rng = np.random.Generator(np.random.PCG64([person.seed, 3]))
    shown += rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(0.0045)
    poll(1.0)
    out: Pixels = np.clip(shown * 255 + 0.5, 0, 255).astype(np.uint8)
    return out


def _surfaces(world: World, camera: Camera, poll: Callable[[float], None]) -> tuple[Array, ...]:
    """x and y of rays, depth and least distance, (h, w) each."""
    import cv2

    px, py = camera.rays()
    sx, sy = px[::2, ::2], py[::2, ::2]
    z, near = march(world.nearest, sx.ravel(), sy.ravel(), np.full(sx.size, 1.5, np.float32), 30)
    poll(0.2)
    z = z.reshape(sx.shape)
    z = np.where(near.reshape(sx.shape) < 0.2, z, -1.9).astype(np.float32)
    start = cv2.dilate(z, np.ones((3, 3), np.uint8))
    start = np.asarray(
        cv2.resize(start, px.shape[::-1], interpolation=cv2.INTER_NEAREST), np.float32
    )
    look = start > -1.85
    depth = np.full(px.shape, -1.9, np.float32)
    least = np.full(px.shape, 9.0, np.float32)
    d, n = march(world.nearest, px[look], py[look], start[look] + np.float32(0.05), 40)
    depth[look], least[look] = d, n
    poll(0.35)
    return px, py, depth, least


def _draw(person: Person, camera: Camera, poll: Callable[[float], None]) -> Array:
    import cv2

    world = World(person)
    grain = paint.Grain(person.seed)
    px, py, depth, least = _surfaces(world, camera, poll)
    size = 1.0 / camera.unit
    cover = step(size * 1.1, size * 0.1, least)
    seen = cover > 0.003
    z = depth[seen]
    x, y = along(px[seen], py[seen], z)
    # 2 materials and normals
    parts = world.parts(x, y, z)
    e = np.float32(0.003)
    base = np.minimum(np.minimum(parts[0], parts[1]), np.minimum(parts[2], parts[3]))
    grads = []
    for dx, dy, dz in ((e, 0, 0), (0, e, 0), (0, 0, e)):
        d = world.parts(x + np.float32(dx), y + np.float32(dy), z + np.float32(dz))
        grads.append(np.minimum(np.minimum(d[0], d[1]), np.minimum(d[2], d[3])) - base)
    normal = np.stack(grads, -1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    poll(0.5)
    skin_d, hair_d, hat_d, _ = parts
    soft = max(0.010, size)
    hair_w = step(-soft, soft, skin_d - hair_d)
    hat_w = step(-size * 0.5, size * 0.5, np.minimum(skin_d, hair_d) - hat_d)
    # 3 paint
    hx, hy, hz = world.solids.to_head(x, y, z)
    coat = paint.skin(person, world.solids, grain, hx, hy, hz, size)
    body = y < -1.05
    cloth_c = np.tile(np.array(person.cloth_color, np.float32), (x.size, 1))
    cloth_h = np.zeros_like(x)
    on_body = np.zeros_like(x)
    if body.any():
        c, share, bump = paint.cloth(person, grain, x[body], y[body], z[body], size)
        cloth_c[body], on_body[body], cloth_h[body] = c, share, bump
    trunk = np.clip(1 - hair_w, 0, 1) * (1 - hat_w) * (hy < -1.0)
    dressed = on_body * trunk
    poll(0.6)
    strand = world.hair.strand(hx, hy, hz)
    hair_c, shift, hair_h = _hair_paint(person, world, grain, strand, hx, hy, hz)
    hat_c, hat_h = _hat_paint(person, grain, hx, hy, hz)
    hair_w = hair_w * (1 - dressed)
    # bump in the picture plane
    flat_h = coat.height * (1 - hair_w) * (1 - dressed) + cloth_h * dressed + hair_h * hair_w
    flat_h = flat_h * (1 - hat_w) + hat_h * hat_w
    plane = np.zeros(px.shape, np.float32)
    plane[seen] = flat_h
    gy, gx = np.gradient(plane)
    bump = np.stack([-gx[seen], gy[seen], np.zeros_like(x)], -1) * camera.unit
    limit = np.clip(np.abs(bump), 0, 0.6) * np.sign(bump)
    normal = normal + limit * np.clip(normal[:, 2:], 0.2, 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    eye_n = coat.eye_normal @ world.solids.matrix.astype(np.float32)
    eye_w = coat.eye * (1 - hair_w) * (1 - hat_w) * (1 - dressed)
    # 4 shadow and occlusion at half the size
    shade, dark = _occlusion(world, person, px, py, depth, seen, normal)
    poll(0.85)
    # 5 light
    albedo = coat.color
    lit = _skin_light(person, linear(albedo), coat.gloss, normal, shade, dark)
    eyes = _eye_light(person, linear(coat.eye_color), eye_n, shade, dark, hx, hy)
    lit = paint.mix(lit, eyes, eye_w)
    fabric = _cloth_light(person, linear(cloth_c), normal, shade, dark, 0.05)
    lit = paint.mix(lit, fabric, dressed)
    if world.hairy:
        locks = _hair_light(
            person, world, linear(hair_c), shift, normal, shade, dark, x, y, z, strand
        )
        lit = paint.mix(lit, locks, hair_w)
    if world.hatted:
        lit = paint.mix(lit, _cloth_light(person, linear(hat_c), normal, shade, dark, 0.02), hat_w)
    image = backdrop(person, camera)
    alpha = cover[seen][:, None]
    image[seen] = image[seen] * (1 - alpha) + lit * alpha
    # soften steps in depth inside the figure
    jump = cv2.Laplacian(depth, cv2.CV_32F)
    edge = np.asarray(
        cv2.GaussianBlur((np.abs(jump) > 0.07).astype(np.float32), (0, 0), 0.8), np.float32
    )
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.75), np.float32)
    image += (blurred - image) * np.clip(edge * 1.2, 0, 1)[..., None]
    if person.glasses != "none":
        draw_glasses(image, person, world, camera, px, py, depth, key_direction(person))
    return image


def key_direction(person: Person) -> Array:
    """Towards the key light, camera coordinates."""
    lift = LIGHTS[person.light][5]
    return _unit((0.62 * person.light_side, lift, 0.95))


def _occlusion(
    world: World, person: Person, px: Array, py: Array, depth: Array, seen: Array, normal: Array
) -> tuple[Array, Array]:
    import cv2

    full = np.zeros((*px.shape, 3), np.float32)
    full[seen] = normal
    part = (slice(None, None, 2), slice(None, None, 2))
    mask = seen[part]
    n = full[part][mask]
    z = depth[part][mask]
    x, y = along(px[part][mask], py[part][mask], z)
    key = key_direction(person)
    facing = n @ key
    shade: Array = np.ones_like(x)
    t = np.full_like(x, 0.05)
    ox, oy, oz = x + n[:, 0] * 0.03, y + n[:, 1] * 0.03, z + n[:, 2] * 0.03
    active = np.flatnonzero(facing > -0.25)
    for _ in range(14):
        ta = t[active]
        d = world.nearest(
            ox[active] + key[0] * ta, oy[active] + key[1] * ta, oz[active] + key[2] * ta
        )
        shade[active] = np.minimum(shade[active], np.clip(0.5 + 4.0 * d / ta * 0.5, 0, 1))
        t[active] = ta + np.clip(d * 0.9, 0.03, 0.35)
        active = active[(t[active] < 1.7) & (shade[active] > 0.02)]
        if active.size == 0:
            break
    dark: Array = np.zeros_like(x)
    for reach, weight in ((0.05, 0.65), (0.14, 0.60), (0.34, 0.55)):
        d = world.nearest(x + n[:, 0] * reach, y + n[:, 1] * reach, z + n[:, 2] * reach)
        dark += weight * np.clip(reach - d, 0, reach) / reach
    out: list[Array] = []
    both: tuple[tuple[Array, float], ...] = (
        (shade, 1.0),
        (np.clip(1 - 0.75 * dark, 0.12, 1), 1.0),
    )
    for values, empty in both:
        plane: Array = np.full(mask.shape, empty, np.float32)
        plane[mask] = values
        # average over the figure alone
        inside: Array = mask.astype(np.float32)
        top = cv2.GaussianBlur(plane * inside, (0, 0), 1.3)
        low = cv2.GaussianBlur(inside, (0, 0), 1.3)
        plane = np.where(low > 0.01, top / np.maximum(low, 0.01), empty).astype(np.float32)
        big = cv2.resize(plane, px.shape[::-1], interpolation=cv2.INTER_LINEAR)
        out.append(np.asarray(big, np.float32)[seen])
    return out[0], out[1]


def _fill(person: Person, normal: Array) -> tuple[Array, Array]:
    """Share of sky light and of the rim light."""
    sky = 0.55 + 0.30 * normal[:, 1] + 0.15 * normal[:, 2]
    back = _unit((-0.85 * person.light_side, 0.35, -0.55))
    rim = np.clip(normal @ back, 0, 1) * np.clip(1.15 - normal[:, 2], 0, 1) ** 2
    return sky, rim


def _skin_light(
    person: Person, albedo: Array, gloss: Array, normal: Array, shade: Array, dark: Array
) -> Array:
    key_c, key, fill_c, fill, rim_s, _ = LIGHTS[person.light]
    direction = key_direction(person)
    cos = normal @ direction
    wrap = np.array([0.42, 0.22, 0.15], np.float32)  # red light travels furthest under the skin
    diffuse = np.clip((cos[:, None] + wrap) / (1 + wrap), 0, 1) ** 1.25
    soft_shade = shade[:, None] ** np.array([0.75, 1.0, 1.1], np.float32)
    diffuse = diffuse * (0.12 + 0.88 * soft_shade)
    sky, rim = _fill(person, normal)
    occluded = dark[:, None] ** np.array([0.80, 1.0, 1.08], np.float32)
    light = key * np.array(key_c, np.float32) * diffuse * (0.4 + 0.6 * occluded)
    light += fill * np.array(fill_c, np.float32) * sky[:, None] * occluded
    light += rim_s * 0.5 * rim[:, None] * occluded
    out = albedo * light * 0.66
    half = _unit(direction + np.array([0, 0, 1], np.float32))
    h = np.clip(normal @ half, 0, 1)
    fresnel = 0.04 + 0.35 * (1 - np.clip(normal[:, 2], 0, 1)) ** 4
    spec = gloss * (0.16 * h**14 + 0.30 * h**60) * shade + gloss * 0.10 * fresnel * sky * dark
    out += (spec * key * 0.50)[:, None] * np.array(key_c, np.float32)
    return out


def _eye_light(
    person: Person, albedo: Array, normal: Array, shade: Array, dark: Array, hx: Array, hy: Array
) -> Array:
    key_c, key, fill_c, fill, _, _ = LIGHTS[person.light]
    direction = key_direction(person)
    cos = np.clip(normal @ direction * 0.6 + 0.4, 0, 1) * (0.45 + 0.55 * shade)
    light = (
        key * np.array(key_c, np.float32) * cos[:, None]
        + fill * np.array(fill_c, np.float32) * 0.75
    )
    out = albedo * light * 0.56 * (0.45 + 0.55 * dark[:, None])
    s = person.shape
    ax = np.abs(hx)
    aim = s["eye_x"] + np.where(hx > 0, 1.0, -1.0) * s["gaze"] * 0.10 - 0.006
    local = (ax - aim) * np.where(hx > 0, 1, -1)
    spot = np.hypot(local - 0.026 * person.light_side, hy - 0.040)
    glint = step(0.0205, 0.0125, spot)
    second = 0.22 * step(0.026, 0.012, np.hypot(local + 0.028 * person.light_side, hy + 0.018))
    return out + (glint * 0.95 + second * 0.5)[:, None] * np.array(key_c, np.float32)


def _cloth_light(
    person: Person, albedo: Array, normal: Array, shade: Array, dark: Array, sheen: float
) -> Array:
    key_c, key, fill_c, fill, rim_s, _ = LIGHTS[person.light]
    cos = np.clip((normal @ key_direction(person) + 0.12) / 1.12, 0, 1) * (0.10 + 0.90 * shade)
    sky, rim = _fill(person, normal)
    light = key * np.array(key_c, np.float32) * cos[:, None]
    light += fill * np.array(fill_c, np.float32) * (sky * dark)[:, None]
    light += rim_s * 0.6 * rim[:, None]
    out = albedo * light * 0.60
    fuzz = (1 - np.clip(normal[:, 2], 0, 1)) ** 3 * sheen
    return out + (fuzz * dark)[:, None] * np.array(fill_c, np.float32)


def _hair_paint(
    person: Person, world: World, grain: paint.Grain, strand: Array, x: Array, y: Array, z: Array
) -> tuple[Array, Array, Array]:
    """(colour, shift of the highlight, bump) of hair."""
    base = np.array(person.hair_color, np.float32)
    style = world.hair.style
    curly = style is not None and style.curl > 0
    a = strand + (0.05 * np.sin(6 * y) if style is not None and style.wave else 0.0)
    if curly:
        fine = grain.at(x * 30 + 8 * np.sin(9 * y), y * 30 + 8 * np.sin(9 * x)) * 0.7
        coarse = grain.at(x * 11, y * 11 + z * 5)
    else:
        fine = grain.at(a * 62, y * 1.1 + z * 0.8) * 0.6 + grain.at(a * 118 + 40, y * 2.0) * 0.4
        coarse = grain.at(a * 17 + 7, y * 0.6 + z * 0.5)
    if style is not None and style.cap < 0.04:
        fine = grain.at(x * 60, y * 60 + z * 40)
        coarse = grain.at(x * 8, y * 8)
    tone = 1 + 0.24 * fine + 0.16 * coarse
    color = np.clip(base[None] * tone[:, None], 0, 1)
    if person.hair_name == "gray":
        color = paint.mix(
            color, np.array([0.80, 0.79, 0.77], np.float32), np.clip(0.25 * fine, 0, 0.6)
        )
    return color, 0.16 * fine + 0.06 * coarse, 0.006 * fine + 0.006 * coarse


def _hair_light(
    person: Person, world: World, albedo: Array, shift: Array, normal: Array, shade: Array,
    dark: Array, x: Array, y: Array, z: Array, strand: Array,
) -> Array:  # fmt: skip
    key_c, key, fill_c, fill, rim_s, _ = LIGHTS[person.light]
    hair, solids, e = world.hair, world.solids, np.float32(0.01)
    grads = []
    for dx, dy, dz in ((e, 0, 0), (0, e, 0), (0, 0, e)):
        hx, hy, hz = solids.to_head(x + np.float32(dx), y + np.float32(dy), z + np.float32(dz))
        change = hair.strand(hx, hy, hz) - strand
        grads.append(np.where(np.abs(change) > 1.5, 0, change))
    across = np.stack(grads, -1)
    tangent = np.cross(normal, across)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-6
    direction = key_direction(person)
    half = _unit(direction + np.array([0, 0, 1], np.float32))

    def gleam(offset: float, power: float) -> Array:
        t = tangent + normal * (shift + np.float32(offset))[:, None]
        dot = (t / np.linalg.norm(t, axis=1, keepdims=True)) @ half
        return np.clip(1 - dot * dot, 0, 1) ** (power / 2)

    along_light = tangent @ direction
    sine = np.sqrt(np.clip(1 - along_light * along_light, 0, 1))
    cos = np.clip((normal @ direction + 0.25) / 1.25, 0, 1)
    diffuse = cos * (0.45 + 0.55 * sine) * (0.18 + 0.82 * shade)
    sky, rim = _fill(person, normal)
    gloss = 0.5 if hair.style is not None and (hair.style.curl or hair.style.cap < 0.05) else 1.0
    light = key * np.array(key_c, np.float32) * diffuse[:, None]
    light += fill * np.array(fill_c, np.float32) * (sky * dark)[:, None]
    light += rim_s * 0.8 * rim[:, None]
    out = albedo * light * 0.66 * (0.35 + 0.65 * dark[:, None])
    lit = np.clip(normal @ direction * 1.2 + 0.15, 0, 1) * (0.15 + 0.85 * shade) * dark
    white = gleam(-0.06, 90) * lit * 0.13 * gloss
    tinted = gleam(0.10, 26) * lit * 0.55 * gloss
    out += white[:, None] * key * np.array(key_c, np.float32) * 0.7
    out += tinted[:, None] * key * np.clip(albedo * 1.5 + 0.006, 0, 1) * np.array(key_c, np.float32)
    out += (rim * rim_s * 0.05)[:, None]
    return out


def _hat_paint(
    person: Person, grain: paint.Grain, x: Array, y: Array, z: Array
) -> tuple[Array, Array]:
    base = np.array(person.hat_color, np.float32)
    color = np.tile(base, (x.size, 1))
    height = np.zeros_like(x)
    if person.hat == "beanie":
        ribs = np.sin(np.arctan2(x, z + 0.05) * 34)
        height = 0.010 * ribs + 0.004 * np.sin(y * 80)
        color *= (1 + 0.06 * ribs)[:, None]
    elif person.hat == "headscarf":
        height = 0.010 * grain.at(x * 3, y * 2 + z * 3) + 0.001 * grain.at(x * 60, y * 60)
    return color, height
