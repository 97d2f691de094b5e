import json

import numpy as np
import pytest
import torch
from PIL import Image

from medim.common.errors import UserError
from medim.tokenizers.image import CONFIG, DESCRIPTION, WEIGHTS, ImageTokenizer, nearest


def build(**kwargs) -> ImageTokenizer:
    values = {"resolution": 16, "downsampling": 4, "codes": 12, "channels": (4, 8, 8), "latent_channels": 3} | kwargs
    tokenizer = ImageTokenizer.build(**values)
    # the framework's codebook is drawn in +-1/codes; spread it so that tokens differ
    tokenizer.model.quantize.embedding.weight.data.normal_(generator=torch.Generator().manual_seed(3))
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> ImageTokenizer:
    return build()


def noise(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_geometry(tokenizer):
    assert (tokenizer.resolution, tokenizer.downsampling, tokenizer.codes) == (16, 4, 12)
    assert (tokenizer.grid, tokenizer.length) == (4, 16)
    assert tokenizer.codebook.shape == (12, 3)
    assert not tokenizer.codebook.requires_grad


def test_tokens_and_images_have_the_stated_shapes_and_ranges(tokenizer):
    tokens = tokenizer.encode(noise(5))
    assert tokens.shape == (5, 16)
    assert tokens.dtype == torch.long
    assert 0 <= tokens.min() <= tokens.max() < 12
    images = tokenizer.decode(tokens)
    assert images.shape == (5, 3, 16, 16)
    assert images.abs().max() <= 1


def test_tokens_are_those_of_the_library_in_raster_order(tokenizer):
    images = noise(2)
    with torch.no_grad():
        latents = tokenizer.model.encode(images).latents
        _, _, (_, _, expected) = tokenizer.model.quantize(latents)
        decoded = tokenizer.model.decode(latents).sample.clamp(-1, 1)
    tokens = tokenizer.encode(images)
    assert torch.equal(tokens, expected.view(2, 16))
    # position row * grid + column is the latent at (row, column)
    row, column = 1, 2
    distance = (tokenizer.codebook - latents[0, :, row, column]).norm(dim=1)
    assert tokens[0, row * 4 + column] == distance.argmin()
    assert torch.allclose(tokenizer.decode(tokens), decoded, atol=1e-5)


def test_an_image_has_the_same_tokens_alone_and_in_a_batch(tokenizer):
    images = noise(7)
    together = tokenizer.encode(images)
    alone = torch.cat([tokenizer.encode(images[i : i + 1]) for i in range(7)])
    assert (together == alone).float().mean() > 0.99  # a tie may fall either way in another summation order


def test_a_token_moves_the_decoded_patch_it_stands_for(tokenizer):
    tokens = torch.zeros(1, 16, dtype=torch.long)
    row, column = 1, 3
    seen = []

    def record(module, inputs):
        seen.append(inputs[0])

    handle = tokenizer.model.post_quant_conv.register_forward_pre_hook(record)
    changed = tokens.clone()
    changed[0, row * 4 + column] = 5
    tokenizer.decode(tokens)
    tokenizer.decode(changed)
    handle.remove()
    moved = (seen[0] != seen[1]).any(1)[0]  # (rows, columns)
    assert moved.nonzero().tolist() == [[row, column]]


def test_nearest_equals_brute_force():
    generator = torch.Generator().manual_seed(1)
    points, codes = torch.randn(50, 4, generator=generator), torch.randn(9, 4, generator=generator)
    assert torch.equal(nearest(points, codes), torch.cdist(points, codes).argmin(1))


def test_images_go_round_as_pil(tokenizer):
    values = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    images = [Image.fromarray(v) for v in values]
    images[0] = images[0].convert("L")
    rebuilt = tokenizer.reconstruct(images)
    assert [(i.mode, i.size) for i in rebuilt] == [("RGB", (16, 16))] * 3
    tokens = tokenizer.encode_images(images, batch_size=2)
    assert tokens.shape == (3, 16)
    expected = tokenizer.decode(tokens).add(1).mul(127.5).round()  # half to even, not truncated
    assert np.array_equal(np.asarray(rebuilt[2]), expected[2].permute(1, 2, 0).byte().numpy())
    assert tokenizer.reconstruct([]) == []


def test_what_does_not_fit_is_refused(tokenizer):
    with pytest.raises(UserError, match=r"image 1 is 20 x 16 pixels; this tokenizer reads 16 x 16"):
        tokenizer.encode_images([Image.new("RGB", (16, 16)), Image.new("RGB", (20, 16))])
    with pytest.raises(UserError, match=r"shape \(1, 3, 32, 16\)"):
        tokenizer.encode(torch.zeros(1, 3, 32, 16))
    with pytest.raises(ValueError, match="16 per image"):
        tokenizer.decode(torch.zeros(1, 15, dtype=torch.long))
    with pytest.raises(ValueError, match="run from 0 to 12; codes are 0 to 11"):
        tokenizer.decode(torch.tensor([[0] * 15 + [12]]))


def test_geometry_that_cannot_be_is_refused():
    with pytest.raises(UserError, match="downsampling 8 needs 4 entries in channels"):
        build(downsampling=8)
    with pytest.raises(UserError, match="resolution 18 is not a multiple"):
        build(resolution=18)


def test_weights_follow_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first, again, other = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.rand(3), expected)
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_saved_and_read_back_it_is_the_same(tokenizer, tmp_path):
    tokenizer.training = {"seconds": 1.5}
    tokenizer.save_pretrained(tmp_path)
    back = ImageTokenizer.from_pretrained(tmp_path)
    assert back.fingerprint == tokenizer.fingerprint
    assert back.training == {"seconds": 1.5}
    tokens = tokenizer.encode(noise(2))
    assert torch.equal(back.encode(noise(2)), tokens)
    assert torch.equal(back.decode(tokens), tokenizer.decode(tokens))
    assert not back.model.training


def test_what_is_loaded_trains_on_as_what_was_saved(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    first, back = ImageTokenizer.from_pretrained(tmp_path), ImageTokenizer.from_pretrained(tmp_path)
    fresh = [weight.clone() for weight in back.model.parameters()]
    pixels = torch.rand(2, 3, tokenizer.resolution, tokenizer.resolution, generator=torch.Generator().manual_seed(0))
    for each in (first, back):
        each.model.train()
        optimizer = torch.optim.AdamW(each.model.parameters(), lr=1e-3)
        (each.model(pixels).sample - pixels).square().mean().backward()
        optimizer.step()
    for ours, theirs in zip(first.model.parameters(), back.model.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours)
    assert any(not torch.equal(a, b) for a, b in zip(fresh, back.model.parameters(), strict=True))


def test_half_precision_is_a_matter_of_the_disk(tokenizer, tmp_path):
    before = tokenizer.fingerprint
    tokenizer.save_pretrained(tmp_path / "whole")
    tokenizer.save_pretrained(tmp_path / "half", dtype=torch.float16)
    assert tokenizer.fingerprint == before
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    back = ImageTokenizer.from_pretrained(tmp_path / "half")
    assert back.codebook.dtype == torch.float32
    assert torch.equal(back.codebook, tokenizer.codebook.half().float())


@pytest.mark.parametrize("name", [DESCRIPTION, CONFIG, WEIGHTS])
def test_a_missing_file_is_named(tokenizer, tmp_path, name):
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"no image tokenizer in .*: {name} is missing"):
        ImageTokenizer.from_pretrained(tmp_path)


def test_cut_weights_and_files_that_disagree_are_refused(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    (tmp_path / DESCRIPTION).write_text(json.dumps(description | {"codes": 13}))
    with pytest.raises(UserError, match=r"codes is 13, but config.json makes it 12"):
        ImageTokenizer.from_pretrained(tmp_path)
    (tmp_path / DESCRIPTION).write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        ImageTokenizer.from_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    weights = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="cannot be read"):
        ImageTokenizer.from_pretrained(tmp_path)
