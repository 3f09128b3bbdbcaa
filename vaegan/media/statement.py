"""What a written file says of itself: that it is synthetic, and what made it."""

from html import escape

from PIL.PngImagePlugin import PngInfo

from vaegan import __version__

TRAINED_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for media made by a trained model."""

SYNTHETIC = "AI-generated"
"""What every statement begins with."""

PRODUCT = f"vaegan {__version__}"

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmp:CreatorTool="{tool}"
 Iptc4xmpExt:DigitalSourceType="{kind}">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def statement(model_id: str) -> str:
    """One line: synthetic, by which version, with which model. No date: the same inputs give the same bytes."""
    return f"{SYNTHETIC} (trainedAlgorithmicMedia): a photo animated by {PRODUCT}, model {model_id}"


def xmp(text: str) -> str:
    """The statement as XMP, with IPTC's digital source type, which picture programs and search engines read."""
    return _XMP.format(tool=escape(PRODUCT), kind=TRAINED_MEDIA, text=escape(text))


def picture_options(form: str, text: str) -> dict:
    """What makes Pillow write the statement into a file of that format; nothing where that has no place for it."""
    if form == "PNG":
        chunks = PngInfo()
        chunks.add_text("Comment", text)
        chunks.add_itxt("XML:com.adobe.xmp", xmp(text))
        return {"pnginfo": chunks}
    if form == "TIFF":
        return {"tiffinfo": {270: text, 700: xmp(text).encode()}}
    return {
        "GIF": {"comment": text.encode()},
        "JPEG": {"comment": text.encode(), "xmp": xmp(text).encode()},
        "WEBP": {"xmp": xmp(text).encode()},
    }.get(form, {})
