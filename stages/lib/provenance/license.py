"""Read the license of a base model from its own files."""

from pathlib import Path

from gguf import GGUFReader
from huggingface_hub import ModelCard, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from stages.lib.params.base_model import Base

CARD = "README.md"
UNKNOWN = "unknown"


def license_of(base: Base) -> str:
    """Return the license's identifier, such as ``apache-2.0``, or ``unknown``.

    It is in ``general.license`` of a GGUF file, and in the front matter of the model card of a
    folder or a Hub model. The card of a Hub model is downloaded unless it is cached.
    """
    if base.kind == "gguf":
        field = GGUFReader(base.location).get_field("general.license")
        return field.contents() if field else UNKNOWN
    card = Path(base.location) / CARD if base.kind == "folder" else _hub_card(base)
    if card is None or not card.exists():
        return UNKNOWN
    license = ModelCard.load(card).data.to_dict().get("license")
    return license if isinstance(license, str) else UNKNOWN


def _hub_card(base: Base) -> Path | None:
    try:
        return Path(hf_hub_download(base.location, CARD, revision=base.revision))
    except (LocalEntryNotFoundError, HfHubHTTPError):
        return None
