"""The space-time U-Net: each property that makes it Lumiere's, on a small model."""

import itertools

import pytest

torch = pytest.importorskip("torch")


from avsafe_generators.one_pass import flow  # noqa: E402
from avsafe_generators.one_pass import stunet as st  # noqa: E402
from avsafe_generators.one_pass.multidiffusion import fade, fused, windows  # noqa: E402

SMALL = st.Shape(
    channels=3, fields=(2, 4), scene_fields=(3,), objects=1, widths=(8, 16, 24), width=16,
    middles=1, looks=1, heads=2,
)  # fmt: skip
FRAMES = 16


def disturb(model, seed, only=lambda name: True):
    """Random weights everywhere: nothing is hidden behind a layer that begins at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if only(name):
                value.add_(0.15 * torch.randn(value.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def image():
    torch.manual_seed(0)
    return disturb(st.ImageUNet(SMALL), 1)


@pytest.fixture(scope="module")
def started(image):
    return st.inflate(image).eval()


@pytest.fixture(scope="module")
def moved(image):
    return disturb(st.inflate(image), 2, st.is_temporal)


@pytest.fixture
def asked():
    return torch.tensor([[[1, 2]], [[1, 3]]]), torch.tensor([[1], [2]])


def noise(seed=5, frames=FRAMES, clips=2):
    return torch.randn((clips, 3, frames, 8, 8), generator=torch.Generator().manual_seed(seed))


LEVEL = torch.tensor([0.2, 0.7])


def run(model, x, asked, **more):
    with torch.inference_mode():
        return model(x, LEVEL[: len(x)], asked[0][: len(x)], asked[1][: len(x)], **more)


# ---------------------------------------------------------------- step 0 is the image model


def test_kept_frames_come_out_as_the_image_model_makes_them(image, started, asked):
    x = noise()
    alone, together = run(image, x, asked), run(started, x, asked)
    assert started.stride == 4
    torch.testing.assert_close(together[:, :, ::4], alone[:, :, ::4], atol=1e-5, rtol=0)
    between = (together - alone)[:, :, 1::4].abs().max()
    assert between > 1e-2  # nearest neighbour, as in the paper, not an identity for every frame


def test_a_still_clip_is_the_image_at_every_frame(image, started, asked):
    x = noise()[:, :, :1].expand(-1, -1, FRAMES, -1, -1)
    torch.testing.assert_close(run(started, x, asked), run(image, x, asked), atol=1e-5, rtol=0)


def test_the_image_model_alone_is_the_same_for_one_frame_or_many(image, asked):
    x = noise()
    one = torch.cat([run(image, x[:, :, k : k + 1], asked) for k in range(3)], 2)
    torch.testing.assert_close(run(image, x, asked)[:, :, :3], one, atol=1e-5, rtol=0)


def test_layers_over_time_matter_once_they_have_moved(started, moved, asked):
    x = noise()
    assert (run(moved, x, asked) - run(started, x, asked)).abs().max() > 0.05


@pytest.mark.parametrize("kind", ["image", "started", "moved"])
def test_what_a_frame_knows_of_the_others(kind, asked, request):
    model = request.getfixturevalue(kind)
    x = noise(clips=1).requires_grad_()
    model(x, LEVEL[:1], asked[0][:1], asked[1][:1])[:, :, 0].sum().backward()
    seen = x.grad.abs().amax(dim=(0, 1, 3, 4))
    assert seen[0] > 1e-3
    if kind == "moved":
        assert (seen > 1e-7).all()  # the whole clip, in one pass
    else:
        assert seen[1:].max() == 0


# ---------------------------------------------------------------- resampling and attention


def test_resampling_over_time_begins_as_nearest_neighbour():
    x = torch.randn((2 * 8, 5, 4, 4), generator=torch.Generator().manual_seed(1))
    half = st.TemporalDown(5)(x, 8)
    assert half.shape == (2 * 4, 5, 4, 4)
    clips = x.view(2, 8, 5, 4, 4)
    torch.testing.assert_close(half.view(2, 4, 5, 4, 4), clips[:, 0::2])
    back = st.TemporalUp(5)(half, 4)
    assert back.shape == x.shape
    torch.testing.assert_close(back.view(2, 8, 5, 4, 4), clips[:, 0::2].repeat_interleave(2, dim=1))


def test_time_is_halved_with_space_at_every_level(moved, asked):
    shapes = {}
    hooks = [
        layer.register_forward_hook(
            lambda _, given, out, name=name: shapes.update({name: (given[1], tuple(out.shape))})
        )
        for name, layer in moved.temporal.items()
    ]
    run(moved, noise(), asked)
    for hook in hooks:
        hook.remove()
    assert shapes["down0"] == (16, (2 * 16, 8, 8, 8))
    assert shapes["shrink0"] == (16, (2 * 8, 16, 4, 4))
    assert shapes["shrink1"] == (8, (2 * 4, 24, 2, 2))
    assert shapes["middle0"] == (4, (2 * 4, 24, 2, 2))
    assert shapes["grow1"] == (4, (2 * 8, 16, 4, 4))
    assert shapes["grow0"] == (8, (2 * 16, 8, 8, 8))


def test_attention_over_time_only_at_the_coarsest_level(moved):
    attending = {
        name.split(".")[0]
        for name, layer in moved.temporal.named_modules()
        if isinstance(layer, st.TemporalAttention)
    }
    assert attending == {"middle0"}
    others = {type(moved.temporal[name]) for name in moved.temporal if name != "middle0"}
    assert others == {st.TemporalConv, st.TemporalDown, st.TemporalUp}


def test_blocks_are_factorised():
    """2-D in space, then 1-D in time: no layer spans both."""
    model = st.STUNet(SMALL)
    kernels = {len(m.kernel_size) for m in model.modules() if isinstance(m, torch.nn.Conv2d)}
    assert kernels == {2}
    assert not any(isinstance(m, torch.nn.Conv3d) for m in model.modules())


def test_frames_come_in_multiples_of_the_stride(started, asked):
    with pytest.raises(ValueError, match="multiple of 4"):
        run(started, noise(frames=10), asked)


# ---------------------------------------------------------------- what is known


def masks():
    """Image-to-video, inpainting and cinemagraph."""
    first = torch.zeros(2, 1, FRAMES, 8, 8)
    first[:, :, 0] = 1
    outside = torch.ones_like(first)
    outside[..., 2:6, 2:6] = 0
    return {"first": first, "outside": outside, "cinemagraph": torch.maximum(first, outside)}


@pytest.mark.parametrize("kind", ["first", "outside", "cinemagraph"])
def test_known_content_enters_by_channels(kind, started, moved, asked):
    x, known, mask = noise(), noise(9), masks()[kind]
    plain = run(started, x, asked)
    torch.testing.assert_close(run(started, x, asked, known=known, mask=mask), plain)  # step 0
    told = run(moved, x, asked, known=known, mask=mask)
    assert (told - run(moved, x, asked)).abs().max() > 0.05
    hidden = torch.where(mask.bool(), known, 123.0)  # what isn't given is never read
    torch.testing.assert_close(run(moved, x, asked, known=hidden, mask=mask), told)


def test_known_channels_are_one_convolution_over_all(moved):
    x, known, mask = noise(), noise(9), masks()["first"]
    weight = torch.cat([moved.enter.weight, moved.known.weight], 1)
    frames = st._frames(torch.cat([x, known * mask, mask], 1))
    whole = torch.nn.functional.conv2d(frames, weight, moved.enter.bias, padding=1)
    torch.testing.assert_close(moved.entrance(x, known, mask), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["first", "outside", "cinemagraph"])
def test_known_content_is_kept_to_the_end(kind, moved, asked):
    known, mask = noise(9), masks()[kind]

    def model(x, level):
        return run(moved, x, asked, known=known, mask=mask)

    out = flow.sample(model, noise(), 3, known=known, mask=mask)
    torch.testing.assert_close(out * mask, known * mask, atol=1e-6, rtol=0)
    assert (out - known).abs().max() > 0.1  # the rest is the model's


# ---------------------------------------------------------------- windows


def test_one_window_is_the_plain_model(moved, asked):
    x = noise()
    clean = fused(lambda part, level, number: run(moved, part, asked), windows(16, 16, 0), 16)
    assert torch.equal(clean(x, LEVEL), run(moved, x, asked))


@pytest.mark.parametrize(("frames", "window", "overlap"), [(40, 16, 8), (41, 16, 5), (17, 16, 15)])
def test_windows_cover_the_clip(frames, window, overlap):
    starts = windows(frames, window, overlap)
    assert starts[0] == 0
    assert starts[-1] + window == frames
    assert all(b - a <= window - overlap for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("bad", [(8, 16, 4), (40, 16, 16), (40, 16, -1)])
def test_windows_that_cannot_cover_are_refused(bad):
    with pytest.raises(ValueError, match="window"):
        windows(*bad)


def test_windows_agree_where_the_models_do():
    x = noise(frames=40)
    clean = fused(lambda part, level, number: 2 * part, windows(40, 16, 8), 16)
    torch.testing.assert_close(clean(x, LEVEL), 2 * x)


def test_the_order_of_windows_does_not_matter():
    x, starts = noise(frames=40), windows(40, 16, 8)
    by_place = {first: k for k, first in enumerate(starts)}

    def model(order):
        def window(part, level, number):
            return part + by_place[order[number]]

        return fused(window, order, 16)(x, LEVEL)

    assert torch.equal(model(starts), model(starts[::-1]))


def test_no_seam_where_windows_disagree():
    starts = windows(64, 16, 8)
    x = torch.zeros(1, 1, 64, 2, 2)
    ramp = fused(lambda part, level, number: part + number, starts, 16)(x, LEVEL[:1])[0, 0, :, 0, 0]
    assert ramp[0] == 0
    assert ramp[-1] == len(starts) - 1
    assert ramp.diff().min() >= 0
    assert ramp.diff().max() < 0.25  # a cut would leap by 1, a plain mean by a half
    assert (fade(16) > 0).all()


# ---------------------------------------------------------------- style


def test_style_blends_spatial_layers_only(moved):
    base, style = moved.state_dict(), disturb(st.STUNet(SMALL), 8).state_dict()
    spatial = [name for name in base if not st.is_temporal(name)]
    temporal = [name for name in base if st.is_temporal(name)]
    assert spatial
    assert temporal
    none, half, full = (st.blend(base, style, a) for a in (0.0, 0.5, 1.0))
    for name in spatial:
        assert torch.equal(none[name], base[name])
        torch.testing.assert_close(full[name], style[name])
        torch.testing.assert_close(half[name], (base[name] + style[name]) / 2)
    for name in temporal:
        assert torch.equal(full[name], base[name])


def test_style_may_be_an_image_model(image, moved):
    styled = st.blend(moved.state_dict(), disturb(st.ImageUNet(SMALL), 8).state_dict(), 0.3)
    st.STUNet(SMALL).load_state_dict(styled)
    with pytest.raises(ValueError, match="another model"):
        st.blend(moved.state_dict(), {"text.order": torch.zeros(2, 16)}, 0.3)


# ---------------------------------------------------------------- the path


def test_the_path_begins_as_noise_and_ends_as_the_clip():
    clean, start = noise(1), noise(2)
    assert torch.equal(flow.noisy(clean, start, torch.zeros(2)), start)
    assert torch.equal(flow.noisy(clean, start, torch.ones(2)), clean)


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_a_model_that_knows_the_clip_reaches_it(steps):
    clean = noise(1)
    out = flow.sample(lambda x, level: clean, noise(2), steps)
    torch.testing.assert_close(out, clean, atol=1e-5, rtol=1e-5)


def test_the_schedule_rises():
    path = flow.schedule(16)
    assert path[0] == 0
    assert path[-1] == 1
    assert all(a < b for a, b in itertools.pairwise(path))


def test_the_loss_counts_only_what_it_should():
    clean, level = noise(1), torch.full((2,), 0.5)
    wrong = clean.clone()
    wrong[:, :, 0] += 1
    weight = 1 - masks()["first"]
    assert flow.loss(wrong, clean, level, weight) == 0
    assert flow.loss(wrong, clean, level) == pytest.approx(4 / FRAMES)  # 1 / (1 - level)^2


def test_the_same_seed_gives_the_same_clip(moved, asked):
    def clip(seed):
        return flow.sample(lambda x, level: run(moved, x, asked), noise(seed), 3)

    assert torch.equal(clip(1), clip(1))
    assert not torch.equal(clip(1), clip(2))
