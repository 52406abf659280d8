"""Images and what Pillow, transformers and timm make of them, for crates/vision/tests.

    python oracle/vision_golden.py

Needs numpy, pillow 13, transformers 5.24 and timm 1.0. Images are made here, from sums of waves and a seed, so that they may be given away.
"""

import io
import json
import os

import numpy as np
from PIL import Image, ImageOps
from timm.data import create_transform, resolve_data_config
from transformers import image_transforms
from transformers.models.beit.image_processing_pil_beit import BeitImageProcessorPil
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.levit.image_processing_pil_levit import LevitImageProcessorPil
from transformers.models.mobilenet_v2.image_processing_pil_mobilenet_v2 import MobileNetV2ImageProcessorPil
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil
from transformers.models.poolformer.image_processing_pil_poolformer import PoolFormerImageProcessorPil
from transformers.models.pvt.image_processing_pil_pvt import PvtImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "crates", "vision", "tests", "fixtures")
WIDTH, HEIGHT = 37, 29

random = np.random.default_rng(1)


def waves(width, height, channels, noise):
    """A soft picture with some grain."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for channel in range(channels):
        a, b, c = random.uniform(0.1, 0.5, 3)
        plane = 127 + 70 * np.sin(a * x + channel) + 50 * np.cos(b * y - c * x)
        planes.append(plane + random.normal(0, noise, plane.shape))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def fnv(data):
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return f"{value:016x}"


def files():
    """Files of all kinds by name."""
    rgb = Image.fromarray(waves(WIDTH, HEIGHT, 3, 4))
    gray = rgb.convert("L")
    ramp = Image.fromarray(np.linspace(0, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint8))
    rgba = rgb.copy()
    rgba.putalpha(ramp)
    palette = rgb.quantize(16)
    sixteen = Image.fromarray((waves(WIDTH, HEIGHT, 1, 4)[..., 0].astype(np.uint16) << 8) | 77)
    bits = gray.point(lambda v: 255 * (v > 120)).convert("1")
    exif = Image.Exif()
    exif[0x0112] = 6
    made = {}

    def save(name, image, **options):
        out = io.BytesIO()
        image.save(out, **options)
        made[name] = out.getvalue()

    save("rgb.png", rgb, format="png")
    save("gray.png", gray, format="png")
    save("rgba.png", rgba, format="png")
    save("gray_alpha.png", rgba.convert("LA"), format="png")
    save("palette.png", palette, format="png")
    save("palette_transparent.png", palette, format="png", transparency=3)
    save("sixteen.png", sixteen, format="png")
    save("bits.png", bits, format="png")
    save("turned.png", rgb, format="png", exif=exif)
    save("photo.jpg", rgb, format="jpeg", quality=92, subsampling=0)
    save("halved.jpg", rgb, format="jpeg", quality=85, subsampling=2)
    save("progressive.jpg", rgb, format="jpeg", quality=85, progressive=True, exif=exif)
    save("gray.jpg", gray, format="jpeg", quality=90)
    save("cmyk.jpg", rgb.convert("CMYK"), format="jpeg", quality=90)
    save("lossless.webp", rgb, format="webp", lossless=True)
    save("alpha.webp", rgba, format="webp", lossless=True, exact=True)
    save("lossy.webp", rgb, format="webp", quality=80)
    save("turned.webp", rgb, format="webp", lossless=True, exif=exif)
    return made


def decoded(data):
    """The pixels as RGB, upright, on white."""
    image = Image.open(io.BytesIO(data))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
    image = ImageOps.exif_transpose(image)
    return image_transforms.convert_to_rgb(image, return_numpy=True)


PROCESSORS = [
    ViTImageProcessorPil(size={"height": 16, "width": 12}),
    ConvNextImageProcessorPil(size={"shortest_edge": 14}, crop_pct=0.875),
    ConvNextImageProcessorPil(size={"shortest_edge": 400}, do_normalize=False, do_rescale=False, crop_size=12, do_center_crop=True),
    CLIPImageProcessorPil(size={"shortest_edge": 18}, crop_size={"height": 14, "width": 20}),
    CLIPImageProcessorPil(size={"shortest_edge": 9}, crop_size={"height": 15, "width": 15}),
    DeiTImageProcessorPil(size={"height": 18, "width": 18}, crop_size={"height": 16, "width": 16}, resample=1),
    LevitImageProcessorPil(size={"shortest_edge": 14}, crop_size={"height": 14, "width": 14}),
    PoolFormerImageProcessorPil(size={"shortest_edge": 14}, crop_size={"height": 14, "width": 14}),
    MobileViTImageProcessorPil(size={"shortest_edge": 14}, crop_size={"height": 14, "width": 14}),
    MobileNetV2ImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 14, "width": 14}),
    BitImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 14, "width": 14}, resample=0),
    BeitImageProcessorPil(size={"height": 14, "width": 14}),
    SiglipImageProcessorPil(size={"height": 50, "width": 41}),
    PvtImageProcessorPil(size={"height": 14, "width": 14}, resample=4),
    BlipImageProcessorPil(size={"height": 14, "width": 14}, resample=5),
    SegformerImageProcessorPil(size={"height": 14, "width": 14}, rescale_factor=1 / 127.5),
    EfficientNetImageProcessorPil(size={"height": 14, "width": 16}),
    EfficientNetImageProcessorPil(
        size={"height": 16, "width": 16}, rescale_factor=1 / 127.5, rescale_offset=True, include_top=False, do_center_crop=True,
        crop_size={"height": 13, "width": 13},
    ),
    EfficientNetImageProcessorPil(size={"height": 14, "width": 14}, do_normalize=False, rescale_offset=True, resample=0),
]

# `pretrained_cfg` of timm's checkpoints: odd and even edges, so that middles begin at halves of pixels.
TIMM = [
    {"input_size": [3, 16, 16], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center", "mean": [0.5] * 3, "std": [0.5] * 3},
    {"input_size": [3, 15, 15], "crop_pct": 0.875},
    {"input_size": [3, 24, 24], "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "squash"},
    {"input_size": [3, 12, 12], "interpolation": "bilinear", "crop_pct": 0.8, "crop_mode": "squash"},
    {"input_size": [3, 12, 20], "interpolation": "bicubic", "crop_pct": 0.9},
    {"input_size": [3, 20, 12], "interpolation": "lanczos", "crop_pct": 1.0},
    {"input_size": [3, 33, 33], "interpolation": "nearest"},
]


def main():
    os.makedirs(OUT, exist_ok=True)
    golden = {"decoded": {}, "resized": [], "processed": []}
    pixels = b""
    for name, data in files().items():
        with open(os.path.join(OUT, name), "wb") as file:
            file.write(data)
        image = decoded(data)
        golden["decoded"][name] = {"height": image.shape[0], "width": image.shape[1], "at": len(pixels)}
        pixels += image.tobytes()
    with open(os.path.join(OUT, "decoded.bin"), "wb") as file:
        file.write(pixels)

    source = Image.open(os.path.join(OUT, "rgb.png"))
    for mode in ["RGB", "L"]:
        image = source.convert(mode)
        for number in range(6):
            for size in [(16, 12), (50, 61), (WIDTH, 10), (7, HEIGHT), (1, 1), (300, 2)]:
                resized = np.array(image.resize(size, resample=number))
                golden["resized"].append({"mode": mode, "resample": number, "size": size, "fnv": fnv(resized.tobytes())})

    values = b""
    for processor in PROCESSORS:
        out = processor(source, return_tensors="np")["pixel_values"][0].astype(np.float32)
        config = {k: v for k, v in processor.to_dict().items() if v is not None}
        golden["processed"].append({"config": config, "shape": out.shape, "at": len(values) // 4})
        values += out.tobytes()
    for config in TIMM:
        transform = create_transform(**resolve_data_config(pretrained_cfg=config), is_training=False)
        out = transform(source).numpy()
        golden["processed"].append({"config": {"pretrained_cfg": config}, "shape": out.shape, "at": len(values) // 4, "exact": True})
        values += out.tobytes()
    with open(os.path.join(OUT, "processed.bin"), "wb") as file:
        file.write(values)
    with open(os.path.join(OUT, "golden.json"), "w") as file:
        json.dump(golden, file, indent=None, separators=(",", ":"), default=str)
        file.write("\n")


if __name__ == "__main__":
    main()
