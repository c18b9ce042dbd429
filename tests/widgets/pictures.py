"""Reads static charts: the images within the HTML of a view's picture, and the lines in them."""

from __future__ import annotations

import re
from base64 import b64decode
from xml.etree import ElementTree as ET

__all__ = ["images", "labels", "pieces_of_lines"]

ADDRESS = re.compile(r'<img [^>]*src="data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)"')
SVG = "{http://www.w3.org/2000/svg}"


def images(picture: str) -> list[ET.Element]:
    """The images of a picture, parsed."""
    return [ET.fromstring(b64decode(text)) for text in ADDRESS.findall(picture)]


def pieces_of_lines(picture: str) -> list[int]:
    """The number of pieces of each line of the first image that has one."""
    (image, *_) = images(picture)
    lines = image.find(f"{SVG}g[@fill='none']")
    return [path.get("d").count("M") for path in lines if path.get("fill") is None]


def labels(picture: str) -> list[str]:
    """The labels within the first image."""
    return [text.text for text in images(picture)[0].iter(f"{SVG}text")]
